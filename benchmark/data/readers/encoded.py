"""Photos kept as encoded image files, decoded when asked for: what folders, archives and RecordIO files have in common."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch

from benchmark.data.readers.images import PhotoError, decode, map_threads, misfit, treatment
from benchmark.data.readers.jpeg import decode_plain
from benchmark.data.readers.scan import Progress, ScanReport, Source, Verdicts, scan
from benchmark.interfaces import FaceVeilError

ALIGN = (
    "recognition needs faces aligned to the ArcFace template; photos that do not fit are only scaled and cropped in the "
    "middle. Align them with `faceveil data align`"
)


class NoPhotosError(FaceVeilError):
    """Nothing usable was found; ``report`` says what there was."""

    def __init__(self, message: str, report: ScanReport) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True, eq=False)
class EncodedFaces:
    """Implements :class:`benchmark.interfaces.Photos`.  Holds an index; every ``load`` decodes anew.

    ``identity`` (N,) int64 numbers the people by their sorted names, ``names`` are those; ``take`` keeps both, so that
    parts of one set stay comparable.  ``rows`` (N,) are positions in ``source``, ``hashes`` (N, 16) of the files.
    ``size`` is the side of the photos in pixels; None gives every photo as it is.
    """

    source: Source
    rows: np.ndarray
    identity: np.ndarray
    names: tuple[str, ...]
    hashes: np.ndarray
    size: int | None
    report: ScanReport

    @classmethod
    def scanned(
        cls,
        source: Source,
        size: int | None,
        *,
        aligned: bool = True,
        distinct: bool = True,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """The usable photos of ``source``, found by decoding each once (see :func:`benchmark.data.readers.scan.scan`).

        Args:
            size: side in pixels; other photos are scaled and cropped to it.  None: the side that most photos have.
            aligned: False keeps photos of any shape as they are, for alignment; ``size`` must then be None.
            distinct: leave out photos whose file repeats another one's byte for byte.

        Raises:
            NoPhotosError: no photo is usable.
        """
        verdicts = scan(source, cache, progress)
        shapes, counts = np.unique(verdicts.shapes[verdicts.shapes[:, 0] > 0], axis=0, return_counts=True)
        sizes = Counter({(int(w), int(h)): int(n) for (w, h), n in zip(shapes, counts, strict=True)})
        if aligned and size is None:
            size = commonest_side(sizes)
        rows, skipped = _usable(source, verdicts, size, distinct)
        people, identity = np.unique(source.people(rows), return_inverse=True)
        done = treated(verdicts.shapes[rows], size) if size is not None else Counter()
        warnings = size_warnings(sizes) if aligned else ()
        note = getattr(source, "note", "")
        report = ScanReport(len(people), len(rows), tuple(skipped), sizes, done, note, warnings)
        if not len(rows):
            raise NoPhotosError(_nothing_usable(source, report), report)
        names = tuple(str(name) for name in people)
        return cls(source, rows, identity.astype(np.int64), names, verdicts.hashes[rows], size, report)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """``identity/photo`` of each photo."""
        return tuple(self.source.key(row) for row in self.rows)

    @cached_property
    def digest(self) -> str:
        """sha256 over size, keys and file hashes, in order: the same for a folder and for an archive of it.

        The person is part of it where the key does not name the person, as under a rule of the user's.
        """
        total = hashlib.sha256(f"{self.size}\n".encode())
        for row, file_hash, person in zip(self.rows, self.hashes, self.identity, strict=True):
            key, name = self.source.key(row), self.names[person]
            if key.rpartition("/")[0] != name:
                total.update(name.encode(errors="surrogateescape") + b"\1")
            total.update(key.encode(errors="surrogateescape") + b"\0" + file_hash.tobytes())
        return total.hexdigest()

    def image(self, position: int) -> np.ndarray:
        """One photo as uint8 (H, W, 3), RGB.  Raises FaceVeilError naming a photo that cannot be read any more."""
        return self._decode(int(self.rows[position]))

    def _decode(self, row: int) -> np.ndarray:
        return self._planes(row).permute(1, 2, 0).numpy()

    def _planes(self, row: int) -> torch.Tensor:
        """A photo as uint8 (3, H, W)."""
        try:
            data = self.source.read(row)
            plain = decode_plain(data, self.size) if self.size is not None else None
            return torch.tensor(decode(data, self.size)).permute(2, 0, 1) if plain is None else plain
        except (PhotoError, OSError) as error:
            raise FaceVeilError(
                f"photo {self.source.key(row)} of {self.source.path} cannot be read ({error}); it is damaged, or has changed "
                "since it was scanned: check the set with `faceveil data check`"
            ) from error

    def load(self, index: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Photos as uint8 (B, 3, H, W), RGB.  Raises FaceVeilError where one cannot be read, or where sizes differ."""
        rows = self.rows[_as_index(index)]
        if not len(rows):
            return torch.zeros(0, 3, self.size or 0, self.size or 0, dtype=torch.uint8)
        if self.size is not None:
            return self._load_square(rows, self.size)
        planes = map_threads(self._planes, rows)
        if len({plane.shape for plane in planes}) > 1:
            raise FaceVeilError(f"the photos of {self.source.path} differ in size; align them first: `faceveil data align`")
        return torch.stack(planes)

    def _load_square(self, rows: np.ndarray, size: int) -> torch.Tensor:
        photos = torch.empty(len(rows), size, size, 3, dtype=torch.uint8).permute(0, 3, 1, 2)  # as decoders and nets want it

        def put(place: int) -> None:  # at once, while the photo is in the processor's cache
            photos[place] = self._planes(int(rows[place]))

        map_threads(put, range(len(rows)))
        return photos

    def take(self, index: Sequence[int] | np.ndarray) -> Self:
        """Some of the photos, in the order of ``index`` (int, or a mask)."""
        chosen = _as_index(index)
        return replace(self, rows=self.rows[chosen], identity=self.identity[chosen], hashes=self.hashes[chosen])


def _nothing_usable(source: Source, report: ScanReport) -> str:
    remedy = "expected images in one folder per person: identity/image"
    if "wrong size" in report.reasons():
        remedy = "photos must be more than half as large as needed; align larger ones with `faceveil data align`"
    return f"{source.path} holds no usable photo; {remedy}\n{report.describe()}"


def _as_index(index: Sequence[int] | np.ndarray) -> np.ndarray:
    chosen = np.asarray(index)
    return chosen if chosen.size else chosen.astype(np.int64)


def commonest_side(sizes: Counter[tuple[int, int]]) -> int:
    """The side that most square photos have (the smallest of several); without a square one, that of most squares inside."""
    squares = Counter({width: count for (width, height), count in sizes.items() if width == height})
    if not squares:
        for (width, height), count in sizes.items():
            squares[min(width, height)] += count
    return min(squares, key=lambda side: (-squares[side], side), default=1)


def treated(shapes: np.ndarray, size: int) -> Counter[str]:
    """What is done to photos of shapes (n, 2), and to how many."""
    kinds, counts = np.unique(shapes, axis=0, return_counts=True)
    found: Counter[str] = Counter()
    for (width, height), count in zip(kinds.tolist(), counts.tolist(), strict=True):
        if done := treatment(width, height, size):
            found[f"{width}x{height} {done}"] += count
    return found


def size_warnings(sizes: Counter[tuple[int, int]]) -> tuple[str, ...]:
    """What the sizes of the photos say about their alignment: aligned sets have one size, and it is square."""
    photos = sum(sizes.values())
    oblong = sum(count for (width, height), count in sizes.items() if width != height)
    common = max(sizes.values(), default=0)
    if 2 * oblong > photos:
        what = f"{oblong} of {photos} photos are not square"
    elif photos >= 10 and 2 * common < photos:
        what = f"{photos} photos come in {len(sizes)} sizes"
    else:
        return ()
    return (f"the photos look unaligned ({what}): {ALIGN}",)


def _misfits(verdicts: Verdicts, usable: np.ndarray, size: int) -> dict[int, str]:
    problems = {}
    for position in np.flatnonzero(usable & (verdicts.shapes != size).any(axis=1)):
        width, height = (int(side) for side in verdicts.shapes[position])
        if reason := misfit(width, height, size):
            problems[int(position)] = reason
    return problems


def _repeats(source: Source, verdicts: Verdicts, usable: np.ndarray) -> dict[int, str]:
    """Photos whose file another one repeats byte for byte: one of them could be trained on and the other asked about."""
    rows = np.flatnonzero(usable)
    _, first, inverse = np.unique(verdicts.hashes[rows], axis=0, return_index=True, return_inverse=True)
    origin = rows[first[inverse.reshape(-1)]]
    return {
        int(row): f"repeated photo: the same file as {source.key(o)}" for row, o in zip(rows, origin, strict=True) if row != o
    }


def _usable(source: Source, verdicts: Verdicts, size: int | None, distinct: bool) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Positions of the photos that can be used, and what is left out with its reason; ``size`` None allows any shape."""
    problems = dict(verdicts.problems)
    usable = verdicts.shapes[:, 0] > 0
    if size is not None:
        problems |= _misfits(verdicts, usable, size)
        usable[list(problems)] = False
    if distinct:
        problems |= (repeats := _repeats(source, verdicts, usable))
        usable[list(repeats)] = False
    skipped = [*source.rejected, *((source.key(position), reason) for position, reason in problems.items())]
    printable = [(name if name.isprintable() else ascii(name), reason) for name, reason in skipped]
    return np.flatnonzero(usable), sorted(printable)
