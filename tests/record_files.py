"""Small RecordIO files of drawn photos."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.data.pack import write_records


def jpeg(seed: int, side: int = 16, **options: object) -> bytes:
    """Random blocks of colour."""
    blocks = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(blocks.repeat(4, 0).repeat(4, 1)).save(out, "JPEG", quality=90, **options)
    return out.getvalue()


def record_set(folder: Path, people: int = 6, photos: int = 4, *, header: bool = True, side: int = 16) -> Path:
    """``train.rec`` with its companions; photo i of person p is ``jpeg(100 * p + i)``."""
    drawn = ((jpeg(100 * p + i, side), p) for p in range(people) for i in range(photos))
    write_records(folder, drawn, size=(side, side), header=header)
    return folder / "train.rec"
