"""Photos written as RecordIO, as public sets are distributed: train.rec, train.idx and property."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.data.readers.encoded import EncodedFaces
from benchmark.data.readers.images import inspect
from benchmark.data.readers.jpeg import plain_size
from benchmark.data.readers.record_format import encode_payload, encode_record
from benchmark.data.readers.scan import Progress
from benchmark.interfaces import FaceVeilError
from benchmark.runtime.atomic import replacing, write_text
from benchmark.runtime.unfinished import PASSING, remove_abandoned


def write_records(out: Path, photos: Iterable[tuple[bytes, int]], *, size: tuple[int, int], header: bool = True) -> int:
    """Writes encoded photos with their people as ``train.rec``, ``train.idx`` and ``property`` below ``out``: all or none.

    Args:
        photos: (encoded photo, person), people numbered 0, 1, 2, ... without a gap, each one's photos together.
        size: height and width, for ``property``.
        header: with the records of InsightFace's own index: first where the records of people are, last one per person with
            the range of its photos.

    Returns:
        The number of photos.

    Raises:
        FaceVeilError: ``out`` holds something already or cannot be written, or people are out of order.
    """
    remove_abandoned(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FaceVeilError(f"{out} is not an empty folder{_why(out)}; name another one, or empty it first")
    starts: list[int] = []  # first record of each person
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (
            replacing(out / "train.rec") as records,
            replacing(out / "train.idx") as index,
            open(records, "wb") as rec,
            open(index, "w", encoding="ascii", newline="\n") as idx,
        ):

            def add(key: int, payload: bytes) -> None:
                idx.write(f"{key}\t{rec.tell()}\n")
                rec.write(encode_record(payload))

            if header:
                add(0, encode_payload(b"", 0.0, 0.0))  # its two labels are known at the end, and take the same room
            key = 0
            for key, (image, person) in enumerate(photos, 1):
                if person == len(starts):
                    starts.append(key)
                elif person != len(starts) - 1:
                    raise FaceVeilError(f"record {key} shows person {person}, but people must come one after the other")
                add(key, encode_payload(image, float(person)))
            if header:
                for person, first in enumerate(starts):
                    end = starts[person + 1] if person + 1 < len(starts) else key + 1
                    add(key + 1 + person, encode_payload(b"", float(first), float(end)))
                rec.seek(0)
                rec.write(encode_record(encode_payload(b"", float(key + 1), float(key + 1 + len(starts)))))
        write_text(out / "property", f"{len(starts)},{size[0]},{size[1]}\n")
    except OSError as error:
        raise FaceVeilError(f"cannot write below {out} ({error.strerror})") from error
    return key


def _why(out: Path) -> str:
    hidden = out.is_dir() and all(file.suffix == PASSING for file in out.iterdir())
    return f" (another command writes to it, or was killed on another machine: hidden files *{PASSING})" if hidden else ""


def pack(photos: EncodedFaces, out: Path, progress: Progress | None = None) -> int:
    """Writes a set as RecordIO; people keep their order, and photos their bytes where they have the set's size already.

    Others are stored as lossless PNG of that size.  Returns the number of photos.  Raises FaceVeilError.
    """
    if photos.size is None:
        raise FaceVeilError("photos of different shapes cannot be packed; align them first: `faceveil data align`")
    side = photos.size
    order = np.argsort(photos.identity, kind="stable")
    people = np.unique(photos.identity[order], return_inverse=True)[1]

    def encoded() -> Iterable[tuple[bytes, int]]:
        for number, (position, person) in enumerate(zip(order.tolist(), people.tolist(), strict=True), 1):
            yield _encoded(photos, position, side), person
            if progress and number % 1000 == 0:
                progress(number, len(order))

    return write_records(out, encoded(), size=(side, side))


def _encoded(photos: EncodedFaces, position: int, side: int) -> bytes:
    data = photos.source.read(int(photos.rows[position]))
    if plain_size(data) == (side, side) or (data.startswith(b"\x89PNG") and inspect(data) == (side, side)):
        return data
    out = io.BytesIO()
    Image.fromarray(photos.image(position)).save(out, "PNG", compress_level=3)
    return out.getvalue()
