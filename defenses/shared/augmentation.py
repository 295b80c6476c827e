"""Random views of face photos for training: flip, shifted crop, erased rectangle.

What is drawn is drawn photo by photo beforehand, so that a view does not depend on which photos share its batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

ERASED_AREA = (0.02, 0.2)  # of the photo, as arXiv 1708.04896 with a smaller upper end: a face is all of the crop
ERASED_ASPECT = (0.5, 2.0)  # height over width


@dataclass(frozen=True)
class Views:
    """One view each of n photos.

    ``flip`` (n,) bool; in pixels ``shift`` (n, 2: down, right) and ``box`` (n, 4: top, left, bottom, right).
    """

    flip: np.ndarray
    shift: np.ndarray
    box: np.ndarray

    def __len__(self) -> int:
        return len(self.flip)

    def take(self, index: np.ndarray | slice) -> Views:
        """The views at some positions."""
        return Views(self.flip[index], self.shift[index], self.box[index])

    def apply(self, images: Tensor) -> Tensor:
        """Images (n, C, H, W) as their views: flipped, shifted with mirrored borders, the box set to 0 (grey)."""
        (height, width), device = images.shape[-2:], images.device
        rows = _mirrored(torch.arange(height) + torch.from_numpy(self.shift[:, :1]), height)
        columns = _mirrored(torch.arange(width) + torch.from_numpy(self.shift[:, 1:]), width)
        columns = torch.where(torch.from_numpy(self.flip)[:, None], width - 1 - columns, columns)
        number = torch.arange(len(images), device=device)[:, None, None]
        moved = images.permute(0, 2, 3, 1)[number, rows.to(device)[:, :, None], columns.to(device)[:, None, :]]
        top, left, bottom, right = torch.from_numpy(self.box).to(device).T[:, :, None, None]
        y, x = torch.arange(height, device=device)[:, None], torch.arange(width, device=device)
        erased = (y >= top) & (y < bottom) & (x >= left) & (x < right)
        return moved.masked_fill(erased[..., None], 0).permute(0, 3, 1, 2)


def _mirrored(position: Tensor, size: int) -> Tensor:
    """Positions beyond an end of 0..size-1 reflected back, for shifts smaller than ``size``."""
    return (size - 1) - ((size - 1) - position.abs()).abs()


def draw_views(count: int, size: tuple[int, int], rng: np.random.Generator, *, flip: bool, crop: float, erase: float) -> Views:
    """Views of ``count`` photos of height and width ``size``.

    Args:
        flip: mirror every second photo, at random.
        crop: shift by up to this share of the height and width, either way.
        erase: probability of an erased rectangle (arXiv 1708.04896).
    """
    pixels = np.array(size)
    draws = rng.random((count, 8))  # a row a photo: the first photos' views do not depend on how many follow
    most = (crop * pixels).astype(np.int64)
    shift = (draws[:, 1:3] * (2 * most + 1)).astype(np.int64) - most
    area = (ERASED_AREA[0] + draws[:, 3] * (ERASED_AREA[1] - ERASED_AREA[0])) * pixels.prod()
    aspect = ERASED_ASPECT[0] * (ERASED_ASPECT[1] / ERASED_ASPECT[0]) ** draws[:, 4]
    extent = np.minimum(pixels, np.sqrt(np.stack([area * aspect, area / aspect], 1)).round()).astype(np.int64)
    corner = (draws[:, 5:7] * (pixels - extent + 1)).astype(np.int64)
    box = np.where(draws[:, 7:] < erase, np.concatenate([corner, corner + extent], 1), 0)
    return Views((draws[:, 0] < 0.5) & flip, shift, box)
