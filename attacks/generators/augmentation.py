"""Adaptive discriminator augmentation (Karras et al., "Training GANs with Limited Data", arXiv 2006.06676).

What the discriminator sees, real and generated, is moved and recoloured at random, each change with probability ``p``; ``p``
follows how sure the discriminator is of real photos.  Of the paper's changes these are its pixel blits, geometry and colours;
images are resampled bilinearly instead of with the paper's wavelet filter.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST = 0.8  # beyond it, the changes begin to show in what is generated
ADJUSTMENT = 100_000  # photos in which p may move from 0 to 1


def adapted(p: float, overfitting: float, target: float, photos: int) -> float:
    """The next ``p``.

    Args:
        overfitting: mean sign of the discriminator's logits of real photos (the paper's r_t).
        target: what it should be; ``p`` rises above and falls below.
        photos: seen since the last adjustment.
    """
    step = math.copysign(photos / ADJUSTMENT, overfitting - target)
    return min(LARGEST, max(0.0, p + step))


def augment(images: Tensor, p: float) -> Tensor:
    """Images (B, 3, R, R) in about [-1, 1], each changed at random; differentiable once.  p = 0 returns them as they are."""
    if p <= 0:
        return images
    count, device = len(images), images.device
    images = _moved(images, _geometry(count, p).to(device))
    colours = _colours(count, p).to(device)
    flat = torch.baddbmm(colours[:, :3, 3:], colours[:, :3, :3], images.flatten(2))
    return flat.view_as(images)


def _moved(images: Tensor, transforms: Tensor) -> Tensor:
    grid = F.affine_grid(transforms[:, :2], list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _apply(matrices: Tensor, change: Tensor, p: float) -> Tensor:
    """``change @ matrices`` for a random share p of the batch."""
    chosen = torch.rand(len(matrices)) < p
    return torch.where(chosen[:, None, None], change @ matrices, matrices)


def _geometry(count: int, p: float) -> Tensor:
    """(B, 3, 3): where each pixel is read from, in coordinates from -1 to 1."""
    matrices = torch.eye(3).repeat(count, 1, 1)
    flips = torch.ones(count)
    matrices = _apply(matrices, _scaling(1 - 2 * torch.randint(2, (count,)), flips), p)
    matrices = _apply(matrices, _rotation(torch.randint(4, (count,)) * (math.pi / 2)), p)
    matrices = _apply(matrices, _translation(torch.rand(count, 2) * 0.5 - 0.25), p)  # up to an eighth of the side
    scale = torch.exp2(torch.randn(count) * 0.2)
    matrices = _apply(matrices, _scaling(scale, scale), p)
    rotations = 1 - math.sqrt(1 - p)  # two chances, before and after the anisotropic scaling
    matrices = _apply(matrices, _rotation((torch.rand(count) * 2 - 1) * math.pi), rotations)
    scale = torch.exp2(torch.randn(count) * 0.2)
    matrices = _apply(matrices, _scaling(scale, 1 / scale), p)
    matrices = _apply(matrices, _rotation((torch.rand(count) * 2 - 1) * math.pi), rotations)
    return _apply(matrices, _translation(torch.randn(count, 2) * 0.25), p)


def _colours(count: int, p: float) -> Tensor:
    """(B, 4, 4): affine changes of RGB in [-1, 1]."""
    matrices = torch.eye(4).repeat(count, 1, 1)
    grey = torch.zeros(4)
    grey[:3] = 1 / math.sqrt(3)
    luma = torch.outer(grey, grey)  # projects on the grey axis
    whole = torch.eye(4).repeat(count, 1, 1)
    shift = whole.clone()
    shift[:, :3, 3] = torch.randn(count, 1) * 0.2
    matrices = _apply(matrices, shift, p)
    contrast = torch.exp2(torch.randn(count) * 0.5)
    matrices = _apply(matrices, torch.diag_embed(torch.stack([contrast, contrast, contrast, torch.ones(count)], 1)), p)
    mirrored = torch.randint(2, (count,)).float()[:, None, None]
    matrices = _apply(matrices, whole - 2 * luma * mirrored, p)
    matrices = _apply(matrices, _hue((torch.rand(count) * 2 - 1) * math.pi), p)
    saturation = torch.exp2(torch.randn(count))[:, None, None]
    kept = luma.clone()
    kept[3, 3] = 1
    return _apply(matrices, kept + (whole - kept) * saturation, p)


def _hue(angle: Tensor) -> Tensor:
    """(B, 4, 4): rotations about the grey axis (Rodrigues)."""
    axis = torch.full((3,), 1 / math.sqrt(3))
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    out = torch.eye(4).repeat(len(angle), 1, 1)
    out[:, :3, :3] = cos * torch.eye(3) + sin * cross + (1 - cos) * torch.outer(axis, axis)
    return out


def _rotation(angle: Tensor) -> Tensor:
    out = torch.eye(3).repeat(len(angle), 1, 1)
    out[:, 0, 0], out[:, 0, 1] = angle.cos(), -angle.sin()
    out[:, 1, 0], out[:, 1, 1] = angle.sin(), angle.cos()
    return out


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    out = torch.eye(3).repeat(len(x), 1, 1)
    out[:, 0, 0], out[:, 1, 1] = x, y
    return out


def _translation(by: Tensor) -> Tensor:
    out = torch.eye(3).repeat(len(by), 1, 1)
    out[:, :2, 2] = by
    return out
