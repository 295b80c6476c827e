"""Decoding of one face photo from the bytes of its file: limits first, then Pillow."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.threads import own_threads

SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".pnm", ".bmp")
FORMATS = ("JPEG", "PNG", "PPM", "BMP")
MAX_BYTES = 32 << 20  # of one photo's file
MAX_PIXELS = 64_000_000  # 192 MB once decoded; about what the largest phone cameras deliver

T = TypeVar("T")
R = TypeVar("R")


class PhotoError(FaceVeilError):
    """One photo cannot be used.  The text is ``kind: detail`` and does not name the photo."""


@contextmanager
def _pillow(data: bytes) -> Iterator[Image.Image]:
    """The opened, not yet decoded photo; whatever Pillow raises until the block ends becomes a PhotoError."""
    if not data:
        raise PhotoError("empty file")
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
        raise PhotoError("not an image: not readable as JPEG, PNG, PGM, PPM or BMP") from None
    except Exception as error:  # Pillow's parsers raise almost anything on damaged input
        raise PhotoError(f"corrupt: {error}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise PhotoError("unsupported: floating-point pixels")
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion clips to white
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    return image.convert("RGB")


def inspect(data: bytes) -> tuple[int, int]:
    """Width and height of a photo as shown, after decoding it to its last byte.  Raises PhotoError."""
    with _pillow(data) as image:
        width, height = image.size
        image.draft(None, (16, 16))  # a JPEG is still read to its end, at an eighth of the work
        image.load()
        if image.mode == "F":
            raise PhotoError("unsupported: floating-point pixels")
        quarter_turn = image.getexif().get(0x0112, 1) >= 5
        return (height, width) if quarter_turn else (width, height)


def misfit(width: int, height: int, size: int) -> str:
    """Why a photo cannot serve as ``size`` x ``size`` pixels, or "" where it can."""
    if width != height:
        return f"wrong size: {width}x{height} is not square"
    if width < size:
        return f"wrong size: {width}x{height} is smaller than {size}x{size}"
    return ""


def decode(data: bytes, size: int | None = None) -> np.ndarray:
    """A photo as uint8 (H, W, 3), RGB, upright.

    With ``size`` it must be a square of at least that many pixels, and is reduced to it by an antialiased triangle
    filter; one of exactly that size is returned as it is.  Raises PhotoError.
    """
    with _pillow(data) as image:
        if size is not None:
            if problem := misfit(*image.size, size):
                raise PhotoError(problem)
            image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at 1/2, 1/4 or 1/8, never below twice the size
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        image = _rgb(image)
        if size is not None and image.width != size:
            image = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
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
