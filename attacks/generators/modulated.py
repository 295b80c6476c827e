"""Modulated convolutions: the layers of the synthesis network (arXiv 1912.04958, section 2.2).

The paper scales the weights by each sample's styles and demodulates them.  Scaling the activations before and after one
shared convolution is the same function, and lets a batch share one convolution instead of one group a sample.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.generators.linear import GAIN, SLOPE, Linear
from attacks.generators.resample import blur

Noise = Literal["const", "random", "none"]
NOISES = ("const", "random", "none")
EPSILON = 1e-8


def modulated_conv(x: Tensor, weight: Tensor, styles: Tensor, kernel: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A modulated 3 x 3 convolution, and what its result still has to be multiplied with to be demodulated.

    Args:
        x: (B, I, H, W).
        weight: (O, I, 3, 3).
        styles: (B, I).
        kernel: the low-pass filter (4, 4), to double the resolution on the way; None keeps it.

    Returns:
        (B, O, H, W) or (B, O, 2H, 2W), and (B, O, 1, 1).
    """
    power = weight.square().sum((2, 3))  # (O, I)
    demodulation = (styles.square() @ power.t() + EPSILON).rsqrt()[:, :, None, None]
    x = x * styles[:, :, None, None]
    if kernel is None:
        return F.conv2d(x, weight, padding=1), demodulation
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return blur(x, kernel * 4, padding=1), demodulation


class SynthesisLayer(nn.Module):
    """Modulated 3 x 3 convolution, noise, bias and leaky ReLU; ``up`` doubles the resolution first.

    Args:
        resolution: of what comes out.
        clamp: bound on the absolute value of what comes out; published checkpoints for mixed precision have 256.
    """

    noise_const: Tensor

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, resolution: int, *, up: bool = False, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.resolution, self.up, self.clamp = resolution, up, clamp
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, kernel: Tensor, noise: Noise) -> Tensor:
        """(B, I, H, W) and (B, w_dim) -> (B, O, H, W), or twice the size."""
        x, demodulation = modulated_conv(x, self.weight, self.affine(w), kernel if self.up else None)
        offset = self.bias[None, :, None, None]
        if noise != "none":
            offset = offset + self._noise(noise, x) * self.noise_strength
        # the gain of the leaky ReLU, which is positive, is taken inside it: one pass over the activations less
        x = F.leaky_relu_(torch.addcmul(offset * GAIN, x, demodulation * GAIN), SLOPE)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)

    def _noise(self, noise: Noise, x: Tensor) -> Tensor:
        if noise == "const":
            return self.noise_const
        return torch.randn(len(x), 1, self.resolution, self.resolution, device=x.device, dtype=x.dtype)


class ToRGB(nn.Module):
    """Modulated 1 x 1 convolution to three channels, not demodulated; (B, I, H, W) -> (B, 3, H, W)."""

    def __init__(self, inputs: int, w_dim: int, *, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.gain = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) * self.gain
        x = F.conv2d(x * styles[:, :, None, None], self.weight, self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
