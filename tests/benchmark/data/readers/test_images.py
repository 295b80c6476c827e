from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from benchmark.data.readers.images import PhotoError, decode, inspect, treatment

TOP = np.zeros((16, 24, 3), np.uint8)
TOP[:4] = 255  # bright on top


def encode(array: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind, **options)
    return out.getvalue()


def exif(kind: int, value: bytes, count: int = 1) -> bytes:
    """An APP1 block that holds the orientation as an entry of any type; short values lie in the entry itself."""
    entry = struct.pack("<HHI", 0x0112, kind, count) + value.ljust(4, b"\0")[:4]
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + bytes(4)


def bright_side(image: np.ndarray) -> str:
    grey = image.astype(float).mean(-1)
    sides = {"top": grey[:3], "bottom": grey[-3:], "left": grey[:, :3], "right": grey[:, -3:]}
    return max(sides, key=lambda side: sides[side].mean())


@pytest.mark.parametrize(
    ("orientation", "side"),
    [(1, "top"), (2, "top"), (3, "bottom"), (4, "bottom"), (5, "left"), (6, "right"), (7, "right"), (8, "left")],
)
def test_each_orientation_is_shown_upright(orientation: int, side: str) -> None:
    data = encode(TOP, exif=exif(3, struct.pack("<H", orientation)), quality=95)
    assert bright_side(decode(data)) == side
    assert decode(data).shape[:2] == ((16, 24) if orientation < 5 else (24, 16))
    assert inspect(data) == ((24, 16) if orientation < 5 else (16, 24))
    assert bright_side(decode(data, 16)) == side


@pytest.mark.parametrize(
    "block",
    [
        exif(2, b"6\0", 2),  # text
        exif(2, b"Horizontal (normal)\0", 20),  # text that lies nowhere
        exif(3, struct.pack("<H", 0)),
        exif(3, struct.pack("<H", 9)),
        exif(11, struct.pack("<f", 6.0)),  # a fraction
        exif(77, b"\6"),  # a type that does not exist
        exif(3, b"\6", 70_000),  # longer than the file
        b"Exif\0\0" + b"nonsense",
        b"Exif\0\0II*\0" + struct.pack("<I", 4_000_000_000),
        b"Exif\0\0",
    ],
)
def test_an_orientation_that_cannot_be_read_counts_as_upright(block: bytes) -> None:
    data = encode(TOP, exif=block, quality=95)
    assert inspect(data) == (24, 16)
    assert bright_side(decode(data)) == "top"


def test_want_of_memory_makes_no_photo_upright_or_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(_image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "getexif", scarce)
    with pytest.raises(MemoryError):
        inspect(encode(TOP))


def test_damaged_metadata_says_nothing_on_stderr() -> None:
    code = (
        "import sys; from benchmark.data.readers.images import decode, inspect\n"
        "for line in sys.stdin:\n    data = bytes.fromhex(line); inspect(data); decode(data, 16)"
    )
    palette = Image.fromarray(TOP).quantize(4)
    out = io.BytesIO()
    palette.save(out, "PNG", transparency=bytes([0, 128, 255, 255]))
    blocks = [exif(3, b"\6", 70_000), b"Exif\0\0II*\0" + struct.pack("<I", 4_000_000_000), exif(2, b"6\0", 2)]
    photos = [encode(TOP, exif=block) for block in blocks] + [out.getvalue()]
    lines = "".join(photo.hex() + "\n" for photo in photos)
    command = [sys.executable, "-W", "always", "-c", code]
    found = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    assert found.stderr == found.stdout == ""


def test_what_others_warn_of_is_left_alone() -> None:
    decode(encode(TOP))
    with pytest.warns(UserWarning, match="not of Pillow"):
        warnings.warn("not of Pillow", UserWarning, stacklevel=1)


def test_webp_is_read() -> None:
    array = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(decode(encode(array, "WEBP", lossless=True), 16), array)
    assert inspect(encode(TOP, "WEBP", exif=exif(3, struct.pack("<H", 6)))) == (16, 24)


def test_a_photo_that_does_not_fit_is_cropped_and_never_squeezed() -> None:
    y, x = np.mgrid[:40, :100]
    disc = ((y - 19.5) ** 2 + (x - 49.5) ** 2 < 15**2).astype(np.uint8)[..., None].repeat(3, 2) * 255
    for size in (40, 30, 60):
        shown = decode(encode(disc, "PNG"), size)[..., 0] > 127
        assert shown.shape == (size, size)
        height, width = np.ptp(np.flatnonzero(shown.any(1))), np.ptp(np.flatnonzero(shown.any(0)))
        assert abs(height - width) <= 1  # a squeezed disc would be 2.5 times as high as wide
        assert abs(height + 1 - 30 * size / 40) <= 2
    assert treatment(100, 40, 30) == "cropped to 40x40 and reduced to 30x30"
    assert treatment(40, 40, 60) == "enlarged to 60x60"
    assert treatment(40, 40, 40) == ""
    with pytest.raises(PhotoError, match="100x40 is smaller than 80x80"):
        decode(encode(disc, "PNG"), 80)


def test_a_png_that_lies_about_its_size_is_refused() -> None:
    data = bytearray(encode(TOP, "PNG"))
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    with pytest.raises(PhotoError, match=r"too large|exceeds limit"):
        inspect(bytes(data))
