"""The bytes of a RecordIO file.

A record: magic number, 3 flag bits and 29 bits of length, payload, padding to 4 bytes; all little-endian.  Where the payload
itself contains the magic number at a multiple of 4, the writer leaves it out and splits the record there (flags: 0 whole,
1 first, 2 middle, 3 last part).  The payload starts with (flag uint32, label float32, id uint64, id2 uint64); a flag above 0
counts the float32 labels that follow and replace the one before.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.data.readers.file_ranges import FileRanges
from benchmark.data.readers.images import MAX_BYTES, PhotoError

MAGIC = 0xCED7230A
FRAME = struct.Struct("<II")
HEADER = struct.Struct("<IfQQ")
HEAD = FRAME.size + HEADER.size + 8  # bytes of a record with its first two labels
MAX_LABEL = 1 << 24  # whole numbers that a float32 holds exactly
_DTYPE = np.dtype([("magic", "<u4"), ("word", "<u4"), ("flag", "<u4"), ("label", "<f4"), ("ids", "V16"), ("labels", "<f4", 2)])

# Kinds of records: photos, records of InsightFace's own index, and what is wrong with the others.
PHOTO, OWN_INDEX = 0, -1
REASONS = {
    1: "cut short: {name} ends at byte {length}, before the record",
    2: "corrupt: no record where the index points",
    3: "corrupt: the index points into the middle of a record",
    4: "cut short: {name} ends at byte {length}, inside the record",
    5: "corrupt: a record of {size} bytes has no room for its header",
    6: "corrupt: a record of {size} bytes has no room for {flag} labels",
    7: "no person: the label {label} is not a whole number from 0 up",
}


@dataclass(frozen=True)
class Head:
    """The heads of n records: ``problem`` (n,) int8, see ``REASONS``; ``label`` (n,) int64, -1 where there is none;
    ``pair`` (n, 2) int64, the two labels of a record of InsightFace's own index."""

    problem: NDArray[np.int8]
    label: NDArray[np.int64]
    pair: NDArray[np.int64]
    raw: np.ndarray

    def why(self, place: int, rec: FileRanges) -> str:
        """What is wrong with a record."""
        raw = self.raw[place]
        label = raw["labels"][0] if raw["flag"] else raw["label"]
        size = raw["word"] & ((1 << 29) - 1)
        reason = REASONS[int(self.problem[place])]
        return reason.format(name=rec.path.name, length=rec.length, size=size, flag=raw["flag"], label=label)


def read_heads(rec: FileRanges, offsets: NDArray[np.int64]) -> Head:
    """The heads of the records at ``offsets``, through a mapping of the file that lasts as long as this call."""
    content = np.memmap(rec.path, np.uint8, "r")
    inside = (offsets >= 0) & (offsets <= len(content) - FRAME.size - HEADER.size)
    starts = np.where(inside, offsets, 0)
    places = np.minimum(starts[:, None] + np.arange(HEAD), len(content) - 1)
    return _judge(content[places].view(_DTYPE)[:, 0], inside, offsets, len(content))


def _judge(heads: np.ndarray, inside: np.ndarray, offsets: np.ndarray, length: int) -> Head:
    part, size = (heads["word"] >> 29).astype(np.int64), (heads["word"] & ((1 << 29) - 1)).astype(np.int64)
    flag = heads["flag"].astype(np.int64)
    labels_end = HEADER.size + 4 * flag
    own_index = (flag > 0) & (part == 0) & (size == labels_end)
    label = np.where(flag > 0, heads["labels"][:, 0], heads["label"]).astype(np.float64)
    whole = np.isfinite(label) & (label >= 0) & (label < MAX_LABEL)
    label = np.where(whole, label, -1)
    problem = np.select(
        [
            ~inside,
            heads["magic"] != MAGIC,
            part > 1,
            offsets + FRAME.size + size > length,
            size < HEADER.size,
            (part == 0) & (size < labels_end),
            own_index,
            (label != np.floor(label)) | ~whole,
        ],
        [1, 2, 3, 4, 5, 6, OWN_INDEX, 7],
        PHOTO,
    ).astype(np.int8)
    with np.errstate(invalid="ignore"):
        pair = np.nan_to_num(heads["labels"].astype(np.float64), nan=-1, posinf=-1, neginf=-1).clip(-1, 2**53).astype(np.int64)
    return Head(problem, np.where(problem == PHOTO, label, -1).astype(np.int64), pair, heads)


TYPICAL = 12 << 10  # bytes read at first: a photo of 112 pixels and its frame, mostly


def frame(data: bytes, rec: FileRanges) -> tuple[int, int]:
    """Part flag and length of what starts with ``data``."""
    magic, word = FRAME.unpack(data)
    if magic != MAGIC:
        raise PhotoError(f"corrupt: no record where the index of {rec.path.name} points")
    return word >> 29, word & (1 << 29) - 1


def read_photo(rec: FileRanges, offset: int) -> bytes:
    """The encoded photo in the record at ``offset``, its parts put together.  Raises PhotoError."""
    start = rec.read(offset, min(TYPICAL, max(FRAME.size, rec.length - offset)))
    part, length = frame(start[: FRAME.size], rec)
    whole = part == 0 and FRAME.size + length <= len(start)
    payload = start[FRAME.size : FRAME.size + length] if whole else _payload(rec, offset)
    if len(payload) < HEADER.size:
        raise PhotoError("corrupt: a record without room for its header")
    (flag,) = struct.unpack_from("<I", payload)
    return payload[HEADER.size + 4 * flag :]


def _payload(rec: FileRanges, offset: int) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        part, length = frame(rec.read(offset, FRAME.size), rec)
        if (part > 1) != bool(parts):
            raise PhotoError("corrupt: the parts of the record are out of order")
        total += length + 4
        if total > 2 * MAX_BYTES:
            raise PhotoError(f"too large: more than {MAX_BYTES >> 20} MiB")
        parts.append(rec.read(offset + FRAME.size, length))
        if part in (0, 3):
            return FRAME.pack(MAGIC, 0)[:4].join(parts)
        offset += FRAME.size + length  # parts before the last need no padding


def encode_record(payload: bytes) -> bytes:
    """A payload as a record, split where it holds the magic number at a multiple of 4."""
    if len(payload) >= 1 << 29:
        raise PhotoError("too large: a record holds less than 512 MiB")
    magic = FRAME.pack(MAGIC, 0)[:4]
    cuts, found = [], payload.find(magic)
    while found >= 0:
        if found % 4 == 0:
            cuts.append(found)
        found = payload.find(magic, found + (4 if found % 4 == 0 else 1))
    starts, ends = [0, *(cut + 4 for cut in cuts)], [*cuts, len(payload)]
    out = bytearray()
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        part = 0 if not cuts else 1 if number == 0 else 3 if number == len(cuts) else 2
        out += FRAME.pack(MAGIC, part << 29 | end - start) + payload[start:end]
    return bytes(out) + bytes(-len(out) % 4)


def encode_payload(image: bytes, *labels: float) -> bytes:
    """A payload: one label in the header itself, several behind it."""
    if len(labels) == 1:
        return HEADER.pack(0, labels[0], 0, 0) + image
    return HEADER.pack(len(labels), 0.0, 0, 0) + struct.pack(f"<{len(labels)}f", *labels) + image
