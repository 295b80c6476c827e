from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from record_files import jpeg

from benchmark.data.readers.images import decode
from benchmark.data.readers.jpeg import decode_plain, plain_size


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2}, {"comment": b"x" * 999}]
)
def test_the_same_pixels_as_pillow(options: dict[str, object]) -> None:
    data = jpeg(1, 48, **options)
    assert plain_size(data) == (48, 48)
    found = decode_plain(data, 48)
    assert found is not None
    assert np.array_equal(found.permute(1, 2, 0).numpy(), decode(data, 48))


def test_grey_is_three_channels() -> None:
    out = io.BytesIO()
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(out, "JPEG")
    found = decode_plain(out.getvalue(), 16)
    assert found is not None
    assert np.array_equal(found.permute(1, 2, 0).numpy(), decode(out.getvalue(), 16))


def test_everything_else_is_left_to_pillow() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    cmyk = io.BytesIO()
    Image.new("CMYK", (16, 16)).save(cmyk, "JPEG")
    data = jpeg(1)
    others = [
        jpeg(1, exif=exif),
        cmyk.getvalue(),
        b"",
        b"\xff\xd8",
        data[:40],
        data[: len(data) // 2],
        b"\x89PNG\r\n",
        b"\xff" * 99,
    ]
    assert [decode_plain(other, 16) for other in others] == [None] * len(others)
    assert decode_plain(data, 32) is None
