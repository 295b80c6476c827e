"""Who is shown on the photos of a folder or archive: the folders named after people, or what a rule given by the user says."""

from __future__ import annotations

import codecs
import csv
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from benchmark.interfaces import FaceVeilError

# Parts of a data set, in which the same people occur again; never the name of a person.
PARTS = frozenset((
    "train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval", "evaluation", "query", "gallery",
    "probe", "images", "img", "imgs", "photos",
))  # fmt: skip
NO_PERSON = "no person: not in a folder of its identity"
RULES = (
    "N (the N-th folder below the set names the person; 1 is the first), N/M (both together do), "
    "a regular expression with one group, matched against the path, or a text file with a line `photo person` per photo"
)


class People(NamedTuple):
    """``person`` of each path, "" where there is none; ``root``, which keys leave out; ``note``, who was taken for people."""

    person: list[str]
    root: str
    note: str


def people_of(paths: Sequence[str], rule: str | None = None, where: str = "") -> People:
    """The person on each photo of a set.

    Without a rule a person is the topmost folder below the one that holds all people; folders inside it (recordings, sessions)
    are the same person's.  Where all topmost folders are parts of a set (train, val, ...), people are the folders inside
    these, and one name in several parts is one person.

    Args:
        paths: of photos, relative to the set, parts divided by ``/``.
        rule: see ``RULES``.
        where: name of the set, for messages.

    Raises:
        FaceVeilError: it is unclear which folders are people, or the rule is none; says what to pass.
    """
    if rule is not None:
        return _by_rule(paths, rule)
    root = _wrapping(paths)
    inside = [path[len(root) :] if path.startswith(root) else "" for path in paths]
    split = _in_parts(inside, where)
    below = [path.partition("/")[2] for path in inside] if split else inside
    person = [_composed(name.partition("/")[0]) if "/" in name else "" for name in below]
    _refuse_ambiguous(below, where, split)
    return People(person, root, _note(below, person, split, root))


def _composed(name: str) -> str:
    """A name as most systems write it: macOS takes letters and accents apart, which is no other name."""
    return unicodedata.normalize("NFC", name)


def _wrapping(paths: Sequence[str]) -> str:
    """The folders that all people lie in, with a slash at the end, or ""."""
    root = ""
    while True:
        inside = [path[len(root) :] for path in paths if path.startswith(root)]
        tops = {path.partition("/")[0] for path in inside if "/" in path}
        if len(tops) != 1 or not any(path.count("/") > 1 for path in inside):
            return root
        root += f"{tops.pop()}/"


def _in_parts(inside: Sequence[str], where: str) -> bool:
    """Whether the topmost folders are the parts of a set."""
    tops = {path.partition("/")[0] for path in inside if "/" in path}
    parts = {top for top in tops if top.lower() in PARTS}
    nested = {path.partition("/")[0] for path in inside if path.count("/") > 1}
    if not parts or (parts != tops and not parts & nested):
        return False
    if parts == tops and nested:
        return True
    if parts == tops and len(tops) > 1:
        raise _ambiguous(where, f"the folders {_some(tops)} look like parts of a set and hold photos, but no folders of people")
    if parts == tops:
        return False
    raise _ambiguous(where, f"{_some(parts)} look like parts of a set with people inside, {_some(tops - parts)} like people")


def _refuse_ambiguous(below: Sequence[str], where: str, split: bool) -> None:
    tops = {path.partition("/")[0] for path in below if "/" in path}
    inner = defaultdict(set)
    for path in below:
        top, _, rest = path.partition("/")
        if "/" in rest:
            inner[top].add(rest.partition("/")[0])
    folders = sum(map(len, inner.values()))
    if inner and folders > len(inner) * len(tops):
        level = 2 if split else 1
        raise _ambiguous(
            where,
            f"{len(tops)} folders ({_some(tops)}) hold {folders} folders of photos; either may be the people: "
            f"pass people={level} for the former, people={level + 1} for the latter (more where further folders wrap the set)",
        )


def _ambiguous(where: str, what: str) -> FaceVeilError:
    return FaceVeilError(
        f"{where or 'the set'}: it is unclear which folders are people: {what}. "
        f"Say it after the path, as in --data 'PATH#people=RULE'; a rule is {RULES}."
    )


def _some(names: set[str]) -> str:
    shown = sorted(names)[:3]
    return ", ".join(shown) + (", ..." if len(names) > 3 else "")


def _note(below: Sequence[str], person: Sequence[str], split: bool, root: str) -> str:
    people = {name for name in person if name}
    note = f"people are the {len(people)} folders below {root or 'the set'}"
    if split:
        note = f"people are the {len(people)} folders inside the parts of the set; the same name in two parts is one person"
    inner = {path.rpartition("/")[0] for path in below if path.count("/") > 1}
    if inner:
        note += f"; {len(inner)} folders inside them count as the same person's"
    return note


def _by_rule(paths: Sequence[str], rule: str) -> People:
    if re.fullmatch(r"[1-9]\d?(/[1-9]\d?)*", rule):
        levels = [int(level) for level in rule.split("/")]
        find: Callable[[str], str] = lambda path: _at_levels(path, levels)  # noqa: E731
        said = f"folders at level {rule}"
    elif Path(rule).expanduser().is_file():
        find = _from_list(Path(rule).expanduser(), paths)
        said = f"people that {rule} names"
    else:
        find, said = _by_pattern(rule), f"people by the pattern {rule}"
    person = [_composed(find(path)) for path in paths]
    if not any(person):
        such = f", such as {paths[0]}" if paths else ""
        raise FaceVeilError(f"the rule people={rule} finds a person on none of {len(paths)} photos{such}; a rule is {RULES}.")
    folders: dict[str, set[str]] = defaultdict(set)
    for path, name in zip(paths, person, strict=True):
        folders[name].add(path.rpartition("/")[0])
    folders.pop("", None)
    several = sum(len(found) > 1 for found in folders.values())
    note = f"people are the {len(folders)} {said}" + (f"; {several} of them lie in several folders" if several else "")
    return People(person, "", note)


def _at_levels(path: str, levels: Sequence[int]) -> str:
    folders = path.split("/")[:-1]
    return "/".join(folders[level - 1] for level in levels) if max(levels) <= len(folders) else ""


def _by_pattern(rule: str) -> Callable[[str], str]:
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise FaceVeilError(f"people={rule} is not a rule ({error}); a rule is {RULES}.") from None
    if pattern.groups != 1:
        raise FaceVeilError(f"people={rule} is not a rule: it has {pattern.groups} groups and needs one; a rule is {RULES}.")

    def find(path: str) -> str:
        found = pattern.search(path)
        return found.group(1) or "" if found else ""

    return find


def _from_list(file: Path, paths: Sequence[str]) -> Callable[[str], str]:
    """People by the lines ``photo person`` of a file (divided by comma, tab or blanks); photos by path, or by a unique name."""
    named: dict[str, str] = {}
    with file.open("rb") as start:
        utf16 = start.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # as editors and PowerShell save it
    with file.open(encoding="utf-16" if utf16 else "utf-8-sig", errors="surrogateescape", newline="") as lines:
        for number, line in enumerate(lines, 1):
            row = next(csv.reader([line])) if "," in line else line.split()
            if row and len(row) != 2:
                raise FaceVeilError(f"{file}, line {number}: expected `photo person`, found {line.strip()[:60]!r}")
            if row:
                named[_composed(row[0].strip())] = row[1].strip()
    files = Counter(PurePosixPath(_composed(path)).name for path in paths)

    def find(path: str) -> str:
        path = _composed(path)
        name = PurePosixPath(path).name
        return named.get(path) or (named.get(name, "") if files[name] == 1 else "")

    return find
