"""The residual discriminator of StyleGAN2 (arXiv 1912.04958, section 4.1), needed only while a generator is trained."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.generators.linear import GAIN, SLOPE, Linear, lrelu
from attacks.generators.resample import blur, downsample, filter_2d
from attacks.generators.synthesis import resolutions

GROUP = 4  # samples among which the standard deviation is taken
EPSILON = 1e-8


class Conv(nn.Module):
    """A convolution with an equalised learning rate, and leaky ReLU unless ``linear``; ``down`` halves the resolution."""

    def __init__(self, inputs: int, outputs: int, size: int, *, down: bool = False, linear: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = None if linear else nn.Parameter(torch.zeros(outputs))
        self.scale = 1 / math.sqrt(inputs * size * size)
        self.down, self.size = down, size

    def forward(self, x: Tensor, kernel: Tensor, gain: float = 1.0) -> Tensor:
        """(B, I, H, W) -> (B, O, H, W), or half the size; ``gain`` multiplies what comes out."""
        # as in the synthesis layers, gains are taken inside the leaky ReLU
        gain = gain if self.bias is None else gain * GAIN
        bias = None if self.bias is None else self.bias * gain
        weight = self.weight * (self.scale * gain)
        if not self.down:
            x = F.conv2d(x, weight, bias, padding=self.size // 2)
        elif self.size == 1:
            x = F.conv2d(downsample(x, kernel), weight, bias)
        else:
            x = F.conv2d(blur(x, kernel, padding=2), weight, bias, stride=2)
        return x if self.bias is None else F.leaky_relu(x, SLOPE)


class DiscriminatorBlock(nn.Module):
    """Two convolutions beside a linear shortcut, to half the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = Conv(inputs, inputs, 3)
        self.conv1 = Conv(inputs, outputs, 3, down=True)
        self.skip = Conv(inputs, outputs, 1, down=True, linear=True)

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H / 2, W / 2)."""
        shortcut = self.skip(x, kernel, math.sqrt(0.5))
        out: Tensor = shortcut + self.conv1(self.conv0(x, kernel), kernel, math.sqrt(0.5))
        return out


class Discriminator(nn.Module):
    """Images to logits, high where they look real; channels as in the generator, min(channel_base / r, channel_max)."""

    kernel: Tensor

    def __init__(self, resolution: int, channel_base: int, channel_max: int) -> None:
        super().__init__()
        sizes = resolutions(resolution)[::-1]
        widths = [max(1, min(channel_base // size, channel_max)) for size in sizes]
        self.register_buffer("kernel", filter_2d(), persistent=False)
        self.from_rgb = Conv(3, widths[0], 1)
        self.blocks = nn.ModuleList(DiscriminatorBlock(a, b) for a, b in pairwise(widths))
        self.conv = Conv(widths[-1] + 1, widths[-1], 3)
        self.fc = Linear(16 * widths[-1], widths[-1])
        self.out = Linear(widths[-1], 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, R, R), about [-1, 1] -> (B,) logits."""
        x = self.from_rgb(images.contiguous(memory_format=torch.channels_last), self.kernel)
        for block in self.blocks:
            x = block(x, self.kernel)
        x = self.conv(torch.cat([x, minibatch_deviation(x)], 1), self.kernel)
        out: Tensor = self.out(lrelu(self.fc(x.flatten(1)))).squeeze(1)
        return out


def minibatch_deviation(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, H, W): the mean standard deviation of features within groups (arXiv 1710.10196, section 3)."""
    count = GROUP if len(x) % GROUP == 0 else len(x)
    groups = x.reshape(count, -1, *x.shape[1:])
    deviation = (groups.var(0, unbiased=False) + EPSILON).sqrt().mean((1, 2, 3))
    return deviation.repeat(count)[:, None, None, None].expand(-1, 1, *x.shape[2:])
