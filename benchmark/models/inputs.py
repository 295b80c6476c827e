"""From photos to what a backbone takes: crop or resize, scale to [0, 1], normalise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.protocol.track import InputSpec


def fit_size(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Float images (B, 3, h, w) as (B, 3, H, W), never squeezed.

    They are scaled until they cover the size, bilinearly with antialiasing, and the centre is cut out (112 x 112 to
    112 x 96: columns 8 to 103).
    """
    height, width = images.shape[-2:]
    if (height, width) == tuple(size):
        return images
    scale = max(size[0] / height, size[1] / width)
    covering = max(size[0], round(height * scale)), max(size[1], round(width * scale))
    if covering != (height, width):
        images = F.interpolate(images, size=covering, mode="bilinear", align_corners=False, antialias=True)
    top, left = (covering[0] - size[0]) // 2, (covering[1] - size[1]) // 2
    return images[..., top : top + size[0], left : left + size[1]]


def to_input(images: Tensor, spec: InputSpec) -> Tensor:
    """Images (B, 3, h, w), uint8 or float in [0, 1], as normalised float (B, 3, H, W); differentiable for float input."""
    floats = images if images.is_floating_point() else images.float().div_(255)
    mean = torch.tensor(spec.mean, dtype=floats.dtype, device=floats.device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, dtype=floats.dtype, device=floats.device).view(1, 3, 1, 1)
    fitted = fit_size(floats, spec.size)
    # in place where these floats are nobody else's
    normalised = (fitted - mean) / std if images.is_floating_point() else fitted.sub_(mean).div_(std)
    return normalised.flip(1) if spec.order == "BGR" else normalised
