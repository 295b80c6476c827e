"""The scan of a set of photos: every photo is decoded once, and what was found is remembered on disk."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from benchmark.data.readers.images import PhotoError, inspect, map_threads
from benchmark.interfaces import FaceVeilError, content_hash

HASH_BYTES = 16
CHUNK = 512  # photos between two reports of progress, and between two writes of the cache

Progress = Callable[[int, int], None]  # photos done, photos in all


class Source(Protocol):
    """Where encoded photos come from: a container of image files, or a RecordIO file."""

    path: Path
    rejected: list[tuple[str, str]]  # what is in there but no photo of a person: name, reason

    def __len__(self) -> int: ...

    def key(self, position: int) -> str:
        """``identity/photo``."""
        ...

    def people(self, positions: np.ndarray) -> np.ndarray:
        """(n,) what tells the people on these photos apart: their names, or numbers."""
        ...

    def read(self, position: int) -> bytes:
        """The encoded photo.  Raises PhotoError or OSError."""
        ...

    def stamp(self, position: int) -> tuple[int, int]:
        """Size in bytes and modification time in ns of the file the photo is in."""
        ...


@dataclass(frozen=True)
class ScanReport:
    """What a set of photos holds.  ``skipped`` names every photo left out with the reason, ``kind: detail``."""

    people: int
    photos: int
    skipped: tuple[tuple[str, str], ...] = ()
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (width, height) of every photo that decodes
    treated: Counter[str] = field(default_factory=Counter)  # what is done to photos of another size, and to how many
    note: str = ""  # who was taken for people
    warnings: tuple[str, ...] = ()  # what may be wrong with the set as a whole, and what to do

    def reasons(self) -> Counter[str]:
        """How many photos were left out, by kind of reason."""
        return Counter(reason.split(":")[0] for _, reason in self.skipped)

    def describe(self, names: int = 5) -> str:
        """A few lines for people to read; of each kind of reason at most ``names`` photos are named."""
        lines = [f"{self.people} people, {self.photos} photos"]
        if self.note:
            lines.append(self.note)
        if self.sizes:
            common = ", ".join(f"{w}x{h} ({n})" for (w, h), n in self.sizes.most_common(names))
            lines.append(f"sizes: {common}{', ...' if len(self.sizes) > names else ''}")
        lines += [f"{what}: {count} of the photos" for what, count in self.treated.most_common(names)]
        lines += [f"warning: {warning}" for warning in self.warnings]
        for kind, count in sorted(self.reasons().items()):
            lines.append(f"skipped {count}: {kind}")
            examples = [(name, reason) for name, reason in self.skipped if reason.split(":")[0] == kind]
            lines += [f"  {name} ({reason})" for name, reason in examples[:names]]
            if count > names:
                lines.append(f"  and {count - names} more")
        return "\n".join(lines)


class Verdict(NamedTuple):
    """One photo: width, height, hash of its file (hex), or the problem with it."""

    width: int
    height: int
    digest: str
    problem: str
    lasting: bool  # False where reading failed for a reason outside the photo, which may pass


@dataclass(frozen=True)
class Verdicts:
    """All photos of a source: ``shapes`` (N, 2) int32 width and height, ``hashes`` (N, 16) uint8, ``problems`` by position."""

    shapes: np.ndarray
    hashes: np.ndarray
    problems: dict[int, str]

    def put(self, position: int, verdict: Verdict) -> None:
        if verdict.problem:
            self.problems[position] = verdict.problem
        else:
            self.shapes[position] = verdict.width, verdict.height
            self.hashes[position] = np.frombuffer(bytes.fromhex(verdict.digest), np.uint8)


def _examine(source: Source, position: int) -> Verdict:
    try:
        data = source.read(position)
        width, height = inspect(data)
    except PhotoError as error:
        return Verdict(0, 0, "", str(error), True)
    except OSError as error:
        return Verdict(0, 0, "", f"unreadable: {error.strerror}", False)
    return Verdict(width, height, hashlib.sha256(data).hexdigest()[: 2 * HASH_BYTES], "", True)


def _cache_file(source: Source, folder: Path) -> Path:
    return folder / f"scan-{content_hash(str(source.path.resolve()), 2)}.jsonl"  # 2: version of the lines


def _remembered(source: Source, file: Path, verdicts: Verdicts) -> set[int]:
    """Fill in what the cache knows; returns those positions.  A line holds where its photo has the size and time noted."""
    if not file.exists():
        return set()
    positions = {source.key(position): position for position in range(len(source))}
    known = set()
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            try:
                key, size, modified, width, height, digest, problem = json.loads(line)
                position = positions.get(key)
                if position is not None and source.stamp(position) == (size, modified):
                    verdicts.put(position, Verdict(width, height, digest, problem, lasting=True))
                    known.add(position)
            except (ValueError, TypeError):  # the end of an interrupted write
                continue
    return known


def _line(source: Source, position: int, verdict: Verdict) -> str:
    row: list[Any] = [source.key(position), *source.stamp(position), *verdict[:4]]
    return json.dumps(row) + "\n"


def _remember(file: Path, lines: list[str]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "a", encoding="utf-8") as out:
            out.write("".join(lines))
    except OSError as error:
        raise FaceVeilError(f"cannot write the scan to {file} ({error.strerror}); choose another cache folder") from error


def scan(source: Source, cache: Path | None = None, progress: Progress | None = None) -> Verdicts:
    """Decode every photo of ``source`` once.

    With ``cache`` (a folder) verdicts are appended to a file there as the scan goes, and photos whose file has the same
    size and modification time are not decoded again: an interrupted scan resumes.
    """
    count = len(source)
    verdicts = Verdicts(np.zeros((count, 2), np.int32), np.zeros((count, HASH_BYTES), np.uint8), {})
    file = _cache_file(source, cache) if cache else None
    known = _remembered(source, file, verdicts) if file else set()
    todo = [position for position in range(count) if position not in known]
    for start in range(0, len(todo), CHUNK):
        chunk = todo[start : start + CHUNK]
        found = map_threads(lambda position: _examine(source, position), chunk)
        for position, verdict in zip(chunk, found, strict=True):
            verdicts.put(position, verdict)
        if file:
            _remember(file, [_line(source, p, v) for p, v in zip(chunk, found, strict=True) if v.lasting])
        if progress:
            progress(len(known) + start + len(chunk), count)
    return verdicts
