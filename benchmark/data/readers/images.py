"""Decoding of one face photo from the bytes of its file: limits first, then Pillow."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.threads import own_threads

SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".pnm", ".bmp", ".webp")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "WEBP")
MAX_BYTES = 32 << 20  # of one photo's file
MAX_PIXELS = 64_000_000  # 192 MB once decoded; about what the largest phone cameras deliver
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {  # what brings a photo of each orientation upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUIET = ("ignore", None, Warning, re.compile(r"PIL(\.|$)"), 0)

T = TypeVar("T")
R = TypeVar("R")


class PhotoError(FaceVeilError):
    """One photo cannot be used.  The text is ``kind: detail`` and does not name the photo."""


def _silence() -> None:
    """Keeps Pillow's warnings about damaged metadata off stderr: what matters about a photo is in the report."""
    if _QUIET not in warnings.filters:  # looked up each time: a test or a notebook may have put its own filters in place
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")


@contextmanager
def _pillow(data: bytes) -> Iterator[Image.Image]:
    """The opened, not yet decoded photo; whatever Pillow raises until the block ends becomes a PhotoError."""
    if not data:
        raise PhotoError("empty file")
    _silence()
    if len(data) > MAX_BYTES:
        raise PhotoError(f"too large: more than {MAX_BYTES >> 20} MiB")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise PhotoError(f"too large: {image.width}x{image.height} pixels, at most {MAX_PIXELS // 10**6} million")
            yield image
    except (FaceVeilError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise PhotoError("not an image: not readable as JPEG, PNG, PGM, PPM, BMP or WebP") from None
    except Exception as error:  # Pillow's parsers raise almost anything on damaged input
        raise PhotoError(f"corrupt: {error}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise PhotoError("unsupported: floating-point pixels")
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion clips to white
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """1 to 8 as EXIF counts them; 1 where nothing readable says otherwise."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except MemoryError:
        raise
    except Exception:  # damaged metadata raises almost anything, and is no reason to lose the photo
        return 1
    return value if type(value) is int and value in UPRIGHT else 1


def inspect(data: bytes) -> tuple[int, int]:
    """Width and height of a photo as shown, after decoding it to its last byte.  Raises PhotoError."""
    with _pillow(data) as image:
        width, height = image.size
        image.draft(None, (16, 16))  # a JPEG is still read to its end, at an eighth of the work
        image.load()
        if image.mode == "F":
            raise PhotoError("unsupported: floating-point pixels")
        return (height, width) if _orientation(image) >= 5 else (width, height)


def misfit(width: int, height: int, size: int) -> str:
    """Why a photo cannot serve as ``size`` x ``size`` pixels, or "" where it can: enlarged it is to less than double."""
    if 2 * min(width, height) <= size:
        return f"wrong size: {width}x{height} is smaller than {size}x{size}"
    return ""


def treatment(width: int, height: int, size: int) -> str:
    """What :func:`decode` does to a photo that is brought to ``size``, or "" where it is taken as it is."""
    side = min(width, height)
    steps = []
    if width != height:
        steps.append(f"cropped to {side}x{side}")
    if side != size:
        steps.append(f"{'reduced' if side > size else 'enlarged'} to {size}x{size}")
    return " and ".join(steps)


def decode(data: bytes, size: int | None = None) -> np.ndarray:
    """A photo as uint8 (H, W, 3), RGB, upright.

    With ``size`` it is brought to a square of that many pixels: the largest square in its middle is cut out, and reduced or
    enlarged by an antialiased triangle filter.  It is never squeezed; one of exactly that size is returned as it is.

    Raises:
        PhotoError: it cannot be decoded, or is half of ``size`` or less.
    """
    with _pillow(data) as image:
        if size is not None:
            if problem := misfit(*image.size, size):
                raise PhotoError(problem)
            image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at 1/2, 1/4 or 1/8, never below twice the size
        image.load()
        orientation = _orientation(image)
        image = _rgb(image)
        if size is not None and image.size != (size, size):
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            box = (left, top, left + side, top + side)
            image = image.resize((size, size), Image.Resampling.BILINEAR, box, reducing_gap=3.0)
        if orientation != 1:
            image = image.transpose(UPRIGHT[orientation])
        return np.asarray(image)


def _workers() -> int:
    return min(8, own_threads())


@lru_cache(maxsize=1)
def _pool(_process: int) -> ThreadPoolExecutor:
    # Keyed by process: threads do not survive a fork, and an executor inherited by a DataLoader worker would hang.
    return ThreadPoolExecutor(_workers(), thread_name_prefix="photos")


def map_threads(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """``function`` of every item, in order, on one small thread pool per process.

    Each thread gets one run of neighbours: handing over photos one by one costs as much as decoding them.
    """
    workers = min(_workers(), len(items))
    if workers <= 1:
        return [function(item) for item in items]
    step = -(-len(items) // workers)
    runs = [items[start : start + step] for start in range(0, len(items), step)]
    results = _pool(os.getpid()).map(lambda run: [function(item) for item in run], runs)
    return [result for run in results for result in run]
