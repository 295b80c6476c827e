"""RecordIO files (``train.rec`` with ``train.idx``), in which most public face sets are handed out, read without mxnet.

Layout of a record: magic number, 3 flag bits and 29 bits of length, payload, padding to 4 bytes; all little-endian.
Where the payload itself contains the magic number at a multiple of 4, the writer leaves it out and splits the record
there (flags: 0 whole, 1 first, 2 middle, 3 last part).  The payload starts with (flag uint32, label float32, id uint64,
id2 uint64); a flag above 0 counts the float32 labels that follow and replace the one before.  Files of InsightFace
start with such a record without a photo, and end with one per person; plain files have neither.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from benchmark.data.readers.encoded import EncodedFaces
from benchmark.data.readers.file_ranges import FileRanges
from benchmark.data.readers.images import MAX_BYTES, PhotoError
from benchmark.data.readers.scan import Progress
from benchmark.interfaces import FaceVeilError

MAGIC = 0xCED7230A
_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")


def read_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Keys (N,) and byte offsets (N,) of an ``.idx`` file, sorted by key.  Raises FaceVeilError."""
    rows = {}
    with open(path, encoding="ascii", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            parts = line.split()
            if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
                raise FaceVeilError(f"{path}, line {number}: expected a key and a byte offset, found {line.strip()[:40]!r}")
            rows[int(parts[0])] = int(parts[1])
    if not rows:
        raise FaceVeilError(f"{path} is empty; it comes with the .rec file: copy or download it again")
    keys = np.array(sorted(rows), np.int64)
    return keys, np.array([rows[key] for key in keys.tolist()], np.int64)


class RecordSource:
    """The photos of a RecordIO file, by position in the sorted index; see :class:`benchmark.data.readers.scan.Source`."""

    def __init__(self, path: Path) -> None:
        index = path.with_suffix(".idx")
        if not path.is_file():
            raise FaceVeilError(f"no such file: {path}")
        if not index.is_file():
            raise FaceVeilError(f"{path.name} needs its index {index.name} beside it ({index} is missing); they come as a pair")
        self.path = path
        self.rejected: list[tuple[str, str]] = []
        self._file = FileRanges(path)
        start = self._file.read(0, min(8, self._file.length))
        if len(start) < 8 or _FRAME.unpack(start)[0] != MAGIC:
            raise FaceVeilError(f"{path} is not a RecordIO file: it starts with {start[:4].hex()}, not {MAGIC:#x}")
        keys, offsets = read_index(index)
        labels = self._labels(keys, offsets)
        chosen = labels >= 0
        self._keys, self._offsets, self._people = keys[chosen], offsets[chosen], labels[chosen]

    def _labels(self, keys: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """(N,) int64 person of each record, -1 where it holds no photo.  Reads the headers in the order of the file."""
        labels = np.full(len(keys), -1, np.int64)
        for position in np.argsort(offsets, kind="stable").tolist():
            try:
                label = self._label(int(offsets[position]))
            except PhotoError as error:
                self.rejected.append((f"record {keys[position]}", str(error)))
                continue
            if label is not None:
                labels[position] = label
        return labels

    def _label(self, offset: int) -> int | None:
        """The person in the record at ``offset``; None for a record of InsightFace's own index, which holds no photo."""
        start = self._file.read(offset, min(_FRAME.size + _HEADER.size + 4, max(0, self._file.length - offset)))
        part, length = self._frame(start)
        if part > 1:
            raise PhotoError("corrupt: the index points into the middle of a record")
        if offset + _FRAME.size + length > self._file.length:
            raise PhotoError(f"cut short: {self.path.name} ends at byte {self._file.length}, inside the record")
        if length < _HEADER.size:
            raise PhotoError(f"corrupt: a record of {length} bytes has no room for its header")
        flag, label, _, _ = _HEADER.unpack_from(start, _FRAME.size)
        if flag:
            end_of_labels = _HEADER.size + 4 * flag
            if part == 0 and length == end_of_labels:
                return None
            if part == 0 and length < end_of_labels:
                raise PhotoError(f"corrupt: a record of {length} bytes has no room for {flag} labels")
            (label,) = struct.unpack_from("<f", start, _FRAME.size + _HEADER.size)
        if not (label >= 0 and label.is_integer()):
            raise PhotoError(f"no person: the label {label} is not a whole number from 0 up")
        return int(label)

    def _frame(self, start: bytes) -> tuple[int, int]:
        """Part flag and length of what starts here."""
        if len(start) < _FRAME.size:
            raise PhotoError(f"cut short: {self.path.name} ends at byte {self._file.length}, before the record")
        magic, word = _FRAME.unpack_from(start)
        if magic != MAGIC:
            raise PhotoError(f"corrupt: no record where the index points ({magic:#x} instead of {MAGIC:#x})")
        return word >> 29, word & (1 << 29) - 1

    def _payload(self, offset: int) -> bytes:
        parts: list[bytes] = []
        while True:
            part, length = self._frame(self._file.read(offset, _FRAME.size))
            if (part > 1) != bool(parts):
                raise PhotoError("corrupt: the parts of the record are out of order")
            if length + sum(map(len, parts)) > 2 * MAX_BYTES:
                raise PhotoError(f"too large: more than {MAX_BYTES >> 20} MiB")
            parts.append(self._file.read(offset + _FRAME.size, length))
            if part in (0, 3):
                return _FRAME.pack(MAGIC, 0)[:4].join(parts)
            offset += _FRAME.size + length  # parts before the last need no padding

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, position: int) -> str:
        """``label/record``."""
        return f"{self._people[position]}/{self._keys[position]}"

    def people(self, positions: np.ndarray) -> np.ndarray:
        """(n,) labels as the file gives them."""
        labels: np.ndarray = self._people[positions]
        return labels

    def read(self, position: int) -> bytes:
        """The encoded photo of a record.  Raises PhotoError."""
        payload = self._payload(int(self._offsets[position]))
        (flag,) = struct.unpack_from("<I", payload)
        return payload[_HEADER.size + 4 * flag :]

    def stamp(self, _position: int) -> tuple[int, int]:
        """Size and modification time of the whole file, whose records it stands for."""
        return self._file.length, self._file.modified


class RecordFaces(EncodedFaces):
    """Photos of a RecordIO file; implements :class:`benchmark.interfaces.Photos`.  Keys are ``label/record``."""


def open_records(
    path: Path, size: int | None = None, *, aligned: bool = True, cache: Path | None = None, progress: Progress | None = None
) -> RecordFaces:
    """The photos of a ``.rec`` file with its ``.idx`` beside it; people are its labels.

    Arguments as for :func:`benchmark.data.readers.folder.open_folder`.  Damaged records are skipped and named.

    Raises:
        FaceVeilError: a file is missing or not RecordIO.
        NoPhotosError: no usable photo; carries the report.
    """
    source = RecordSource(Path(path).expanduser())
    return RecordFaces.scanned(source, size, aligned=aligned, cache=cache, progress=progress)
