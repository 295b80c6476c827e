"""MobileFaceNet, with the module names of a well-known public PyTorch version (Xiaoccer), so that its weights load by name."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

# Expansion, channels, repeats, stride of the bottleneck stages (arXiv 1804.07573, table 1).
STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
STEM, LAST = 64, 512


def scaled(channels: int, width: float) -> int:
    """``channels`` times ``width``, rounded to a multiple of 8, at least 8."""
    return max(8, 8 * round(channels * width / 8))


def halved(size: Sequence[int], times: int) -> tuple[int, int]:
    """Height and width of a map after ``times`` stride-2 convolutions with kernel 3 and padding 1."""
    height, width = size
    for _ in range(times):
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    return height, width


def initialise(module: nn.Module) -> None:
    """He initialisation by fan-out (per group) of convolutions and linear layers; norms start as the identity."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = math.prod(layer.kernel_size) * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / fan_out))
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, math.sqrt(1.0 / layer.in_features))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class ConvBlock(nn.Module):
    """Convolution, BatchNorm and, unless ``linear``, PReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        *,
        depthwise: bool = False,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=inputs if depthwise else 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = nn.Identity() if linear else nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.prelu(self.bn(self.conv(x)))
        return out


class Bottleneck(nn.Module):
    """Inverted residual: expand 1x1, depthwise 3x3, project 1x1 without activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.PReLU(hidden),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.PReLU(hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv(x) if self.residual else self.conv(x)
        return out


class MobileFaceNet(nn.Module):
    """MobileFaceNet (arXiv 1804.07573): images (B, 3, H, W) to embeddings (B, ``embedding_size``), not normalised.

    Args:
        width: multiplier of every channel count (rounded to a multiple of 8).
        input_size: height and width of the images; the final depthwise convolution spans the whole map.
    """

    def __init__(self, width: float = 1.0, embedding_size: int = 128, input_size: Sequence[int] = (112, 112)) -> None:
        super().__init__()
        self.num_features = embedding_size
        self.input_size = tuple(input_size)
        channels = scaled(STEM, width)
        self.conv1 = ConvBlock(3, channels, 3, 2, 1)
        self.dw_conv1 = ConvBlock(channels, channels, 3, 1, 1, depthwise=True)
        blocks = []
        for expansion, outputs, repeats, stride in STAGES:
            outputs = scaled(outputs, width)
            for number in range(repeats):
                blocks.append(Bottleneck(channels, outputs, stride if number == 0 else 1, expansion))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        last = scaled(LAST, width)
        self.conv2 = ConvBlock(channels, last, 1)
        self.linear7 = ConvBlock(last, last, halved(input_size, 4), depthwise=True, linear=True)
        self.linear1 = ConvBlock(last, embedding_size, 1, linear=True)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.dw_conv1(self.conv1(x)))
        out: Tensor = self.linear1(self.linear7(self.conv2(x))).flatten(1)
        return out
