"""How fast a RecordIO file opens and is read, beside the decoding of its photos alone."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.data.pack import write_records
from benchmark.data.readers.images import decode
from benchmark.data.readers.jpeg import decode_plain
from benchmark.data.readers.open import open_faces
from benchmark.interfaces import FaceVeilError, Photos
from benchmark.runtime.memory import peak_memory

BATCH = 256
ROUNDS = 5
DISTINCT = 512  # photos drawn; records repeat them with a comment of their own, so that no two are equal
A_PERSON = 12  # photos


@dataclass(frozen=True)
class RecordTimings:
    """Seconds to open, photos a second on one core, and how much memory grew (MiB) by opening and by reading all."""

    records: int
    megabytes: int
    opened_first: float
    opened_again: float
    raw_decode: float
    raw_decode_pillow: float
    shuffled: float
    grew_opening: float
    grew_reading: float

    @property
    def share(self) -> float:
        """Of the speed of decoding alone that reading in random order reaches."""
        return self.shuffled / self.raw_decode


def measure(folder: Path, records: int, size: int = 112, sample: int = 5_000) -> RecordTimings:
    """Writes a file of ``records`` photos below ``folder``, opens it twice and reads ``sample`` photos in random order."""
    write_records(folder / "set", drawn(records, size), size=(size, size))
    rec = folder / "set" / "train.rec"
    photos = open_faces(rec, size, cache=folder / "warm")  # imports and code that every opening shares
    with peak_memory() as opening:
        first = _seconds(lambda: open_faces(rec, size, cache=folder / "cache"))
    started = time.perf_counter()
    photos = open_faces(rec, size, cache=folder / "cache")
    again = time.perf_counter() - started
    order = np.random.default_rng(0).permutation(len(photos))[:sample]
    encoded = [photos.source.read(int(photos.rows[row])) for row in order]
    photos.load(order[:BATCH])
    with peak_memory() as reading:
        raw, pillow, shuffled = _speeds(
            len(order),
            lambda: _decode_plain_all(encoded, size),
            lambda: _decode_all(encoded, size),
            lambda: _read(photos, order),
        )
    megabytes = rec.stat().st_size >> 20
    return RecordTimings(records, megabytes, first, again, raw, pillow, shuffled, opening.mb, reading.mb)


def _read(photos: Photos, order: np.ndarray) -> None:
    for start in range(0, len(order), BATCH):
        photos.load(order[start : start + BATCH])


def _decode_plain_all(encoded: Sequence[bytes], size: int) -> None:
    for data in encoded:
        if decode_plain(data, size) is None:
            raise FaceVeilError("this build of torchvision does not decode JPEG: nothing is faster than Pillow here")


def _decode_all(encoded: Sequence[bytes], size: int) -> None:
    for data in encoded:
        decode(data, size)


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _speeds(photos: int, *ways: Callable[[], object]) -> list[float]:
    """Photos a second of processor time, the best of some rounds in which every way takes its turn."""
    best = [float("inf")] * len(ways)
    for _ in range(ROUNDS):
        for number, way in enumerate(ways):
            started = time.process_time()
            way()
            best[number] = min(best[number], time.process_time() - started)
    return [photos / seconds for seconds in best]


def drawn(records: int, size: int) -> Iterator[tuple[bytes, int]]:
    """JPEG files and their people, drawn from a seed; no two are equal."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    distinct = []
    for _ in range(min(records, DISTINCT)):
        waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in rng.uniform(-4, 4, (9, 3))]
        image = 127 + 30 * np.stack([sum(waves[i::3]) for i in range(3)], -1) + rng.normal(0, 6, (size, size, 3))
        out = io.BytesIO()
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
        distinct.append(out.getvalue())
    for number in range(records):
        data = distinct[number % len(distinct)]
        comment = b"\xff\xfe\x00\x0a" + number.to_bytes(8)
        yield data[:2] + comment + data[2:], number // A_PERSON
