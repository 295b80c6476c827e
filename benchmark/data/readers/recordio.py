"""RecordIO files (``train.rec`` with ``train.idx``), in which most public face sets are distributed, read without mxnet.

Files of InsightFace start with a record without a photo, and end with one per person (see ``record_index``); plain files have
neither.  ``record_format`` describes the bytes of a record.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmark.data.readers.encoded import EncodedFaces, NoPhotosError, commonest_side, size_warnings, treated
from benchmark.data.readers.file_ranges import FileRanges
from benchmark.data.readers.images import PhotoError, inspect
from benchmark.data.readers.record_format import FRAME, MAGIC, read_photo
from benchmark.data.readers.record_index import content_name, open_index
from benchmark.data.readers.scan import HASH_BYTES, Progress, ScanReport
from benchmark.interfaces import FaceVeilError

SCAN_UP_TO = 20_000  # records of a file whose every photo is decoded when it is opened; larger ones are checked by command
SAMPLED = 256  # photos of a larger file that its sizes are taken from


class RecordSource:
    """The photos of a RecordIO file, by position in the sorted index; see :class:`benchmark.data.readers.scan.Source`."""

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        index = path.with_suffix(".idx")
        if not path.is_file():
            raise FaceVeilError(f"no such file: {path}")
        if not index.is_file():
            raise FaceVeilError(f"{path.name} needs its index {index.name} beside it ({index} is missing); they come as a pair")
        self.path, self.cache = path, cache
        self._file = FileRanges(path)
        start = self._file.read(0, min(8, self._file.length))
        if len(start) < 8 or FRAME.unpack(start)[0] != MAGIC:
            raise FaceVeilError(f"{path} is not a RecordIO file: it starts with {start[:4].hex()}, not {MAGIC:#x}")
        self.index = open_index(self._file, index, cache)
        self.rejected: list[tuple[str, str]] = list(self.index.rejected)

    def __reduce__(self) -> tuple[type[RecordSource], tuple[Path, Path | None]]:
        return RecordSource, (self.path, self.cache)  # another process maps the index anew

    def __len__(self) -> int:
        return int(self.index.rows.shape[1])

    def key(self, position: int) -> str:
        """``label/record``."""
        return f"{self.index.people[position]}/{self.index.keys[position]}"

    def people(self, positions: np.ndarray) -> np.ndarray:
        """(n,) labels as the file gives them."""
        return np.asarray(self.index.people[positions])

    def read(self, position: int) -> bytes:
        """The encoded photo of a record.  Raises PhotoError."""
        return read_photo(self._file, int(self.index.offsets[position]))

    def stamp(self, _position: int) -> tuple[int, int]:
        """Size and modification time of the whole file, whose records it stands for."""
        return self._file.length, self._file.modified

    def content_name(self) -> str:
        """Hash of the index and of samples of the file, as for :func:`benchmark.data.readers.record_index.content_name`."""
        return content_name(self._file, self.path.with_suffix(".idx"))


class RecordFaces(EncodedFaces):
    """Photos of a RecordIO file; implements :class:`benchmark.interfaces.Photos`.  Keys are ``label/record``."""


@dataclass(frozen=True, eq=False)
class LargeRecordFaces(RecordFaces):
    """Photos of a RecordIO file too large to decode when it is opened: what costs memory or time per photo is put off."""

    @cached_property
    def keys(self) -> Sequence[str]:  # type: ignore[override]
        return LazyKeys(self.source, self.rows)

    @cached_property
    def digest(self) -> str:
        """sha256 over size, file, people and places of the photos.  The file counts by its index and by samples of it."""
        source: Any = self.source
        total = hashlib.sha256(f"{self.size} {source.content_name()}\n".encode())
        for start in range(0, len(self.rows), 1 << 16):
            rows = self.rows[start : start + (1 << 16)]
            total.update(np.ascontiguousarray(source.index.rows[:, rows]).astype("<i8").tobytes())
        return total.hexdigest()

    @classmethod
    def indexed(cls, source: RecordSource, size: int | None) -> Self:
        """All photos but those that a check found damaged; sizes come from an even sample."""
        left_out = read_left_out(source)
        rows = np.flatnonzero(~np.isin(source.index.keys, np.array(list(left_out), np.int64)))
        sizes: Counter[tuple[int, int]] = Counter()
        damaged = []
        for row in np.unique(np.linspace(0, len(rows) - 1, SAMPLED).astype(np.int64)) if len(rows) else ():
            try:
                sizes[inspect(source.read(int(rows[row])))] += 1
            except PhotoError as error:
                damaged.append((source.key(int(rows[row])), str(error)))
        skipped = sorted([*source.rejected, *((f"record {key}", why) for key, why in left_out.items())])
        labels, identity = np.unique(source.index.people[rows], return_inverse=True)
        size = commonest_side(sizes) if size is None else size
        warnings = size_warnings(sizes)
        if damaged:
            warnings += (
                f"{len(damaged)} of {SAMPLED} sampled records are damaged, such as {damaged[0][0]} ({damaged[0][1]}): {CHECK}",
            )
        done = treated(np.array([shape for shape, n in sizes.items() for _ in range(n)]).reshape(-1, 2), size)
        note = f"{len(rows)} records are decoded when asked for; sizes are those of {sum(sizes.values())} sampled photos"
        report = ScanReport(len(labels), len(rows), tuple(skipped), sizes, done, note, warnings)
        if not len(rows) or not sizes:
            raise NoPhotosError(f"{source.path} holds no usable photo\n{report.describe()}", report)
        hashes = np.broadcast_to(np.zeros(HASH_BYTES, np.uint8), (len(rows), HASH_BYTES))
        return cls(source, rows, identity.astype(np.int64), tuple(map(str, labels)), hashes, size, report)


CHECK = "`faceveil data check` decodes every record, and those it finds damaged are left out from then on"


class LazyKeys(Sequence[str]):
    """Keys of photos, made when asked for: five million of them at once would take half a gigabyte."""

    def __init__(self, source: Any, rows: np.ndarray) -> None:
        self._source, self._rows = source, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return LazyKeys(self._source, self._rows[position])
        return self._source.key(int(self._rows[position]))

    def __iter__(self) -> Iterator[str]:
        return (self._source.key(int(row)) for row in self._rows)


def left_out_file(source: RecordSource) -> Path | None:
    """Where the records that a check found unusable are listed; None without a cache."""
    return source.cache / f"left-out-{source.content_name()}.json" if source.cache else None


def read_left_out(source: RecordSource) -> dict[int, str]:
    """Keys of records that a check found unusable, with the reason."""
    file = left_out_file(source)
    if file is None or not file.exists():
        return {}
    try:
        return {int(key): str(why) for key, why in json.loads(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise FaceVeilError(f"{file} is damaged ({error}); delete it, and run `faceveil data check` again") from None


def open_records(
    path: Path,
    size: int | None = None,
    *,
    aligned: bool = True,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> RecordFaces:
    """The photos of a ``.rec`` file with its ``.idx`` beside it; people are its labels.

    Arguments as for :func:`benchmark.data.readers.folder.open_folder`.  Up to 20,000 records are decoded once now, and damaged
    ones are skipped and named.  A larger file opens by its index alone, which ``cache`` keeps: a damaged record is an error
    that names it when it is asked for, unless `faceveil data check` has listed it, and is then left out.

    Raises:
        FaceVeilError: a file is missing or not RecordIO.
        NoPhotosError: no usable photo; carries the report.
    """
    source = RecordSource(Path(path).expanduser(), cache)
    if len(source) > SCAN_UP_TO:
        return LargeRecordFaces.indexed(source, size if aligned else None)
    return RecordFaces.scanned(source, size, aligned=aligned, cache=cache, progress=progress)
