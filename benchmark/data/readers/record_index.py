"""Where the records of a RecordIO file are and who they show: read once, kept as an index of our own, memory-mapped.

The index is named after the content of the ``.idx`` and samples of the ``.rec``, so that another file never gets it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.data.readers.file_ranges import FileRanges
from benchmark.data.readers.record_format import Head, read_heads
from benchmark.interfaces import FaceVeilError
from benchmark.runtime.atomic import replacing

VERSION = 1
BLOCK = 4 << 20  # bytes of an .idx parsed at once
AT_ONCE = 1 << 12  # records whose heads are read at once, through a mapping that is then let go
RANGES_ABOVE = 200_000  # records; of larger files with a header record people are read off its ranges, not off each photo
SAMPLED = 64  # pieces of a .rec of 4 KiB each that its index is named after
NAMED = 10_000  # damaged records that are named; of more only the number is kept
_LINES = re.compile(rb"(?:[ \t]*(?:\d{1,18}[ \t]+\d{1,18})?[ \t]*\r?\n)*+")
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RecordIndex:
    """``rows`` (3, N) int64, sorted by key: key, byte offset and person of each photo; may be a mapping of a file.

    ``rejected`` names records that hold no photo that could be used.
    """

    rows: Ints
    rejected: tuple[tuple[str, str], ...]

    @property
    def keys(self) -> Ints:
        result: Ints = self.rows[0]
        return result

    @property
    def offsets(self) -> Ints:
        result: Ints = self.rows[1]
        return result

    @property
    def people(self) -> Ints:
        result: Ints = self.rows[2]
        return result


def open_index(rec: FileRanges, idx: Path, cache: Path | None) -> RecordIndex:
    """The index of a RecordIO file; with ``cache`` (a folder) kept there and mapped when opened again.

    Raises:
        FaceVeilError: the ``.idx`` is unreadable, or says nothing.
    """
    if cache is None:
        return build_index(rec, idx)
    name = f"records-{content_name(rec, idx)}"
    if (kept := _load(cache / name)) is not None:
        return kept
    _save(build_index(rec, idx), cache / name)
    return _load(cache / name) or build_index(rec, idx)


def content_name(rec: FileRanges, idx: Path) -> str:
    """Hash of the whole ``.idx``, and of the size and even samples of the ``.rec``."""
    total = hashlib.sha256(f"{VERSION} {rec.length}\n".encode())
    with open(idx, "rb") as file:
        while block := file.read(BLOCK):
            total.update(block)
    size = min(4096, rec.length)
    for start in np.unique(np.linspace(0, rec.length - size, SAMPLED).astype(np.int64)):
        total.update(rec.read(int(start), size))
    return total.hexdigest()[:32]


def build_index(rec: FileRanges, idx: Path) -> RecordIndex:
    """Reads the ``.idx`` and what it needs of the ``.rec``: the header record's ranges, or the head of every record."""
    keys, offsets = read_idx(idx)
    if len(keys) > RANGES_ABOVE:
        people = _by_ranges(rec, keys, offsets)
        if people is not None:
            kept = people >= 0
            return RecordIndex(np.stack([keys[kept], offsets[kept], people[kept]]), ())
    return _by_heads(rec, keys, offsets)


def read_idx(path: Path) -> tuple[Ints, Ints]:
    """Keys (N,) and byte offsets (N,) of an ``.idx`` file, sorted by key.  Raises FaceVeilError."""
    parts = []
    rest, line = b"", 1
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            whole, newline, rest = (rest + block).rpartition(b"\n")
            if len(rest) > BLOCK:
                raise FaceVeilError(f"{path}, line {line}: expected a key and a byte offset, found {_shown(rest)}")
            parts.append(_parse(path, whole + newline, line))
            line += (whole + newline).count(b"\n")
    parts.append(_parse(path, rest + b"\n", line))
    numbers = np.concatenate(parts)
    if not len(numbers):
        raise FaceVeilError(f"{path} is empty; it comes with the .rec file: copy or download it again")
    keys, offsets = numbers[:, 0], numbers[:, 1]
    if not (np.diff(keys) > 0).all():  # unsorted, as public files are; of a repeated key the last line counts
        keys, last = np.unique(keys[::-1], return_index=True)
        offsets = offsets[::-1][last]
    return np.ascontiguousarray(keys), np.ascontiguousarray(offsets)


def _parse(path: Path, block: bytes, first_line: int) -> Ints:
    """(n, 2) numbers of whole lines."""
    if not _LINES.fullmatch(block):
        for number, line in enumerate(block.split(b"\n"), first_line):
            if not _LINES.fullmatch(line + b"\n"):
                raise FaceVeilError(f"{path}, line {number}: expected a key and a byte offset, found {_shown(line)}")
    if not block.strip():
        return np.zeros((0, 2), np.int64)
    return np.fromstring(block, np.int64, sep=" ").reshape(-1, 2)


def _shown(line: bytes) -> str:
    return repr(line.strip()[:40].decode("ascii", errors="replace"))


def _by_heads(rec: FileRanges, keys: Ints, offsets: Ints) -> RecordIndex:
    people = np.full(len(keys), -1, np.int64)
    rejected: list[tuple[str, str]] = []
    left = 0
    in_file = np.argsort(offsets, kind="stable")
    for start in range(0, len(keys), AT_ONCE):
        part = in_file[start : start + AT_ONCE]
        heads = read_heads(rec, offsets[part])
        photos = heads.problem == 0
        people[part[photos]] = heads.label[photos]
        for place in np.flatnonzero(heads.problem > 0)[: NAMED - len(rejected)].tolist():
            rejected.append((f"record {keys[part[place]]}", heads.why(place, rec)))
        left += int((heads.problem > 0).sum())
    if left > len(rejected):
        rejected.append(("and more", f"corrupt: {left - len(rejected)} further records"))
    kept = people >= 0
    return RecordIndex(np.stack([keys[kept], offsets[kept], people[kept]]), tuple(rejected))


def _by_ranges(rec: FileRanges, keys: Ints, offsets: Ints) -> Ints | None:
    """(N,) person of each record, -1 for none, off the ranges of InsightFace's header record; None where they do not fit.

    Record 0 names (first, one past the last) of the records of people, each of which names those of its photos.  The labels of
    the first and last photo of every range are read to see that the ranges are true.
    """
    first, past = _pair(rec, keys, offsets, 0) or (0, 0)
    if not 0 < first < past <= int(keys[-1]) + 1:
        return None
    ranges = np.searchsorted(keys, [first, past])
    ids = np.arange(*ranges)
    if len(ids) != past - first:
        return None
    bounds = np.concatenate([
        read_heads(rec, offsets[ids[start : start + AT_ONCE]]).pair for start in range(0, len(ids), AT_ONCE)
    ])  # fmt: skip
    begin, end = np.searchsorted(keys, bounds[:, 0]), np.searchsorted(keys, bounds[:, 1])
    if not ((bounds[:, 0] >= 1) & (bounds[:, 1] <= first) & (begin <= end)).all() or (begin[1:] < end[:-1]).any():
        return None
    begin, end = begin[begin < end], end[begin < end]
    lead = np.concatenate([read_heads(rec, offsets[begin[i : i + AT_ONCE]]).label for i in range(0, len(begin), AT_ONCE)])
    tail = np.concatenate([read_heads(rec, offsets[end[i : i + AT_ONCE] - 1]).label for i in range(0, len(end), AT_ONCE)])
    if (lead != tail).any() or (lead < 0).any() or len(np.unique(lead)) != len(lead):
        return None
    people = np.full(len(keys), -1, np.int64)
    people[_spread(begin, end)] = np.repeat(lead, end - begin)
    return people


def _spread(begin: Ints, end: Ints) -> Ints:
    """All positions of ranges, one after the other."""
    sizes = end - begin
    result: Ints = np.arange(sizes.sum()) + np.repeat(begin - np.cumsum(sizes) + sizes, sizes)
    return result


def _pair(rec: FileRanges, keys: Ints, offsets: Ints, key: int) -> tuple[int, int] | None:
    """The two labels of a record without a photo."""
    place = int(np.searchsorted(keys, key))
    if place == len(keys) or keys[place] != key:
        return None
    heads: Head = read_heads(rec, offsets[place : place + 1])
    return (int(heads.pair[0, 0]), int(heads.pair[0, 1])) if heads.problem[0] == -1 else None


def _save(index: RecordIndex, path: Path) -> None:
    notes = {"rejected": index.rejected, "sha256": hashlib.sha256(index.rows.tobytes()).hexdigest()}
    try:
        with replacing(path.with_suffix(".npy")) as temporary, open(temporary, "wb") as file:
            np.save(file, index.rows)
        with replacing(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(notes), encoding="utf-8")
    except OSError as error:
        raise FaceVeilError(f"cannot keep the index of the records in {path.parent} ({error.strerror})") from error


def _load(path: Path) -> RecordIndex | None:
    """A kept index; None where there is none, or where it is damaged and must be made again."""
    try:
        notes = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        rows = np.load(path.with_suffix(".npy"), mmap_mode="r")
        if rows.dtype != np.int64 or rows.ndim != 2 or len(rows) != 3:
            return None
        if hashlib.sha256(rows.data).hexdigest() != notes["sha256"]:
            return None
        return RecordIndex(np.asarray(rows), tuple((str(name), str(why)) for name, why in notes["rejected"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
