"""A picture of reconstructions beside the people whom they should show, for tracks whose faces may be shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import Track
from benchmark.runtime.atomic import replacing

COLUMNS = ("real", "rebuilt", "nearest public")
SCALE = 2  # pixels of the picture a pixel of a face
HEADER = 20  # pixels above each block of rows
COLOURS = 256


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
    canvas = Image.new("RGB", (blocks * width, rows * (side + gap)), "white")
    triples = torch.stack([real, rebuilt, nearest], dim=1).permute(0, 1, 3, 4, 2).numpy().astype(np.uint8)
    for number, triple in enumerate(triples):
        block, row = divmod(number, rows)
        for column, image in enumerate(triple):
            canvas.paste(Image.fromarray(image), (block * width + column * (side + gap), row * (side + gap)))
    canvas = canvas.resize((canvas.width * SCALE, canvas.height * SCALE), Image.Resampling.NEAREST)
    headed = Image.new("RGB", (canvas.width, canvas.height + HEADER), "white")
    headed.paste(canvas, (0, HEADER))
    _head(headed, [SCALE * (b * width + c * (side + gap)) for b in range(blocks) for c in range(len(COLUMNS))], SCALE * side)
    with replacing(Path(out)) as temporary:
        headed.quantize(COLOURS, dither=Image.Dither.NONE).save(temporary, format="PNG", optimize=True)


def _head(picture: Image.Image, lefts: Sequence[int], width: int) -> None:
    """Writes the names of the columns above them, in letters so small that none is wider than its column."""
    write = ImageDraw.Draw(picture)
    sizes = range(14, 4, -1)
    fonts = (ImageFont.load_default(size) for size in sizes)
    font = next((f for f in fonts if max(write.textlength(name, f) for name in COLUMNS) <= width), ImageFont.load_default(4))
    for number, left in enumerate(lefts):
        write.text((left, HEADER - 3), COLUMNS[number % len(COLUMNS)], fill="black", font=font, anchor="ls")
