"""From photos to what a backbone takes: crop or resize, scale to [0, 1], normalise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.protocol.track import InputSpec


def fit_size(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Float images (B, 3, h, w) as (B, 3, H, W).

    Where one side matches and the other is larger, the centre is cut out (112 x 112 to 112 x 96: columns 8 to 103); any other
    size is resized bilinearly with antialiasing.
    """
    height, width = images.shape[-2:]
    if (height, width) == tuple(size):
        return images
    if (height == size[0] and width > size[1]) or (width == size[1] and height > size[0]):
        top, left = (height - size[0]) // 2, (width - size[1]) // 2
        return images[..., top : top + size[0], left : left + size[1]]
    return F.interpolate(images, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)


def to_input(images: Tensor, spec: InputSpec) -> Tensor:
    """Images (B, 3, h, w), uint8 or float in [0, 1], as normalised float (B, 3, H, W); differentiable for float input."""
    floats = images if images.is_floating_point() else images.float().div_(255)
    mean = torch.tensor(spec.mean, dtype=floats.dtype, device=floats.device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, dtype=floats.dtype, device=floats.device).view(1, 3, 1, 1)
    fitted = fit_size(floats, spec.size)
    if images.is_floating_point():
        return (fitted - mean) / std
    return fitted.sub_(mean).div_(std)  # in place: these floats are nobody else's
