"""Resampling by two with the published low-pass filter [1, 3, 3, 1] (arXiv 1912.04958)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = (1.0, 3.0, 3.0, 1.0)


def filter_2d() -> Tensor:
    """(4, 4), sums to 1.  Symmetric, so that correlation and convolution are one."""
    taps = torch.tensor(TAPS)
    return torch.outer(taps, taps) / taps.sum() ** 2


def _depthwise(kernel: Tensor, channels: int) -> Tensor:
    return kernel[None, None].expand(channels, 1, -1, -1)


def blur(x: Tensor, kernel: Tensor, padding: int) -> Tensor:
    """Every channel convolved with the (4, 4) ``kernel``; (B, C, H, W) -> (B, C, H + 2 padding - 3, ...)."""
    return F.conv2d(x, _depthwise(kernel, x.shape[1]), padding=padding, groups=x.shape[1])


def upsample(x: Tensor, kernel: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W): zeros between the pixels, then the low-pass filter with gain 4."""
    return F.conv_transpose2d(x, _depthwise(kernel * 4, x.shape[1]), stride=2, padding=1, groups=x.shape[1])


def downsample(x: Tensor, kernel: Tensor) -> Tensor:
    """(B, C, 2H, 2W) -> (B, C, H, W): the low-pass filter, then every second pixel."""
    return F.conv2d(x, _depthwise(kernel, x.shape[1]), stride=2, padding=1, groups=x.shape[1])
