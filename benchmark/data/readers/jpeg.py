"""The fast way for the photos of prepared sets: a JPEG of the very size that is wanted, decoded by torchvision.

Twice as fast as Pillow at 112 pixels, and bit for bit the same: both stand on libjpeg-turbo.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

_START_OF_FRAME = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive; the rest is rare and left to Pillow
_RGB = 3  # torchvision's number of the mode
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG of 8 bits, grey or YCbCr, that has no EXIF block and is no Adobe file; None for all others."""
    if data[:2] != b"\xff\xd8":
        return None
    position, end = 2, len(data)
    while position + 9 < end and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in _START_OF_FRAME:
            precision, components = data[position + 4], data[position + 9]
            height, width = int.from_bytes(data[position + 5 : position + 7]), int.from_bytes(data[position + 7 : position + 9])
            return (width, height) if precision == 8 and components in (1, 3) and width and height else None
        if data[position + 4 : position + 10] == b"Exif\0\0" or data[position + 4 : position + 9] == b"Adobe":
            return None
        length = int.from_bytes(data[position + 2 : position + 4])
        if length < 2 or marker == 0xDA:
            return None
        position += 2 + length
    return None


def decode_plain(data: bytes, size: int) -> Tensor | None:
    """A JPEG of ``size`` x ``size`` pixels as uint8 (3, size, size), RGB; None where it is another file, or damaged."""
    decoder = _decoder()
    if decoder is None or plain_size(data) != (size, size):
        return None
    try:
        return decoder(torch.frombuffer(bytearray(data), dtype=torch.uint8), _RGB)
    except RuntimeError:  # damaged: Pillow says how
        return None


@lru_cache(maxsize=1)
def _decoder() -> Callable[[Tensor, int], Tensor] | None:
    """torchvision's operator; None where this build has none (its Python wrapper is on its way out)."""
    try:
        import torchvision.io  # noqa: F401 - registers the operator

        return torch.ops.image.decode_jpeg
    except (ImportError, AttributeError, RuntimeError):
        return None
