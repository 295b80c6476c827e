"""What a generator draws: batches of images, their features, and a picture to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from attacks.generators.modulated import Noise
from attacks.generators.plain import PlainGenerator
from attacks.generators.stylegan2 import Generator
from benchmark.evaluation.inversion.panel import embed
from benchmark.interfaces import FaceVeilError
from benchmark.runtime.atomic import replacing
from benchmark.signals.target import Target

BATCH = 64


@torch.inference_mode()
def sample(
    generator: Generator | PlainGenerator, count: int, seed: int, truncation: float = 1.0, noise: Noise = "const"
) -> Tensor:
    """Images (count, 3, R, R) in [0, 1] of seeded latents, on the CPU."""
    z = generator.latents(count, seed)
    parts = [generator.images(generator.mapping(part, truncation), noise).cpu() for part in z.split(BATCH)]
    return torch.cat(parts)


def features(target: Target, images: Tensor) -> np.ndarray:
    """Embeddings (N, D) of unit length of images, uint8 or float in [0, 1]."""
    found = embed(target, images)
    result: np.ndarray = found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-12)
    return result


def write_grid(images: Tensor, columns: int, out: Path, scale: int = 2) -> None:
    """Writes images (N, 3, R, R) in [0, 1] as one PNG, ``columns`` in a row, enlarged ``scale`` times without smoothing.

    Raises:
        FaceVeilError: no images, or a count below 1.
    """
    if not len(images) or min(columns, scale) < 1:
        raise FaceVeilError(f"a grid needs images, columns and a scale of 1 or more, not {len(images)}, {columns}, {scale}.")
    rows = -(-len(images) // columns)
    height, width = images.shape[-2:]
    pixels = (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
    for number, tile in enumerate(pixels):
        row, column = divmod(number, columns)
        canvas[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    picture = Image.fromarray(canvas)
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    with replacing(Path(out)) as temporary:
        picture.save(temporary, format="PNG")
