"""A picture of reconstructions beside the people whom they should show, for tracks whose faces may be shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import Track
from benchmark.runtime.atomic import replacing

COLUMNS = ("real", "rebuilt", "nearest public")
HEADER = 14  # pixels above each block of rows


def check_may_show(track: Track) -> None:
    """Raises FaceVeilError where the data's terms do not allow faces to be shown."""
    if not track.shows_faces:
        raise FaceVeilError(
            f"track {track.name!r} holds photos of real people: their reconstructions are measured and never shown. "
            "Galleries are made for the synthetic tracks."
        )


def write_gallery(track: Track, real: Tensor, rebuilt: Tensor, nearest: Tensor, out: Path, *, blocks: int = 4) -> None:
    """Writes a PNG of N rows real | rebuilt | nearest public face, laid out in ``blocks`` side by side.

    Args:
        real, rebuilt, nearest: uint8 (N, 3, S, S).

    Raises:
        FaceVeilError: a track whose faces may not be shown, or sets of different size.
    """
    check_may_show(track)
    if not real.shape == rebuilt.shape == nearest.shape or not len(real):
        shapes = ", ".join(str(tuple(t.shape)) for t in (real, rebuilt, nearest))
        raise FaceVeilError(f"a gallery needs three equal sets of images, got {shapes}.")
    side, gap = real.shape[-1], 2
    rows = -(-len(real) // blocks)
    width = len(COLUMNS) * (side + gap) + 3 * gap
    canvas = Image.new("RGB", (blocks * width, HEADER + rows * (side + gap)), "white")
    write = ImageDraw.Draw(canvas)
    triples = torch.stack([real, rebuilt, nearest], dim=1).permute(0, 1, 3, 4, 2).numpy().astype(np.uint8)
    for number, triple in enumerate(triples):
        block, row = divmod(number, rows)
        for column, image in enumerate(triple):
            left = block * width + column * (side + gap)
            if row == 0:
                write.text((left + 1, 1), COLUMNS[column], fill="black")
            canvas.paste(Image.fromarray(image), (left, HEADER + row * (side + gap)))
    canvas = canvas.resize((canvas.width * 2, canvas.height * 2), Image.Resampling.NEAREST)
    with replacing(Path(out)) as temporary:
        canvas.save(temporary, format="PNG")
