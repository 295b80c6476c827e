"""GhostFaceNets, with the module names of their ports to torch: GhostNet with PReLU and a depthwise convolution at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.interfaces import FaceVeilError

# kernel, channels inside, channels, squeeze and excitation, stride; by stages
Block = tuple[int, int, int, bool, int]
STAGES: tuple[tuple[Block, ...], ...] = (
    ((3, 16, 16, False, 1),),
    ((3, 48, 24, False, 2),),
    ((3, 72, 24, False, 1),),
    ((5, 72, 40, True, 2),),
    ((5, 120, 40, True, 1),),
    ((3, 240, 80, False, 2),),
    (
        (3, 200, 80, False, 1),
        (3, 184, 80, False, 1),
        (3, 184, 80, False, 1),
        (3, 480, 112, True, 1),
        (3, 672, 112, True, 1),
    ),
    ((5, 672, 160, True, 2),),
    ((5, 960, 160, False, 1), (5, 960, 160, True, 1), (5, 960, 160, False, 1), (5, 960, 160, True, 1)),
)
STEM, LAST = 16, 960  # channels of the first and of the last convolution at width 1
STRIDE = 32  # image pixels to a pixel of the last map
FIRST_ATTENTION = 2  # blocks before this one have none


def divisible(channels: float) -> int:
    """Channels rounded to a multiple of 4, by not more than a tenth down."""
    rounded = max(4, int(channels + 2) // 4 * 4)
    return rounded + 4 if rounded < 0.9 * channels else rounded


def _conv(inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, groups: int = 1) -> nn.Conv2d:
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    return nn.Conv2d(inputs, outputs, (rows, columns), stride, (rows // 2, columns // 2), groups=groups, bias=False)


def _row(inputs: int, outputs: int, kernel: int, groups: int = 1, *, act: bool) -> nn.Sequential:
    layers = [_conv(inputs, outputs, kernel, groups=groups), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.PReLU()] if act else []))


class GhostModule(nn.Module):
    """Half of the channels by a convolution, the other half from these by a cheap one.

    With ``attention`` each is weighed by what a look at half the resolution, along rows and columns, makes of it (GhostNetV2).
    """

    def __init__(self, inputs: int, outputs: int, *, act: bool, attention: bool = False) -> None:
        super().__init__()
        half = math.ceil(outputs / 2)
        self.outputs = outputs
        self.primary_conv = _row(inputs, half, 1, act=act)
        self.cheap_operation = _row(half, half, 3, half, act=act)
        self.short_conv = _short(inputs, outputs) if attention else None

    def forward(self, x: Tensor) -> Tensor:
        first = self.primary_conv(x)
        out = torch.cat([first, self.cheap_operation(first)], 1)[:, : self.outputs]
        if self.short_conv is None:
            return out
        gate = torch.sigmoid(self.short_conv(F.avg_pool2d(x, 2)))
        return out * F.interpolate(gate, size=out.shape[-2:], mode="nearest")


def _short(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(inputs, outputs, 1), nn.BatchNorm2d(outputs)]
    for kernel in ((1, 5), (5, 1)):
        layers += [_conv(outputs, outputs, kernel, groups=outputs), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers)


class SqueezeExcite(nn.Module):
    """Channels weighed by their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = divisible(channels / 4)
        self.conv_reduce = nn.Conv2d(channels, hidden, 1)
        self.act1 = nn.PReLU()
        self.conv_expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * F.hardsigmoid(self.conv_expand(self.act1(self.conv_reduce(mean))))


class GhostBottleneck(nn.Module):
    """Two ghost modules, between them a strided depthwise convolution and squeeze and excitation where the block has them."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, kernel: int, stride: int, *, squeezed: bool, attention: bool
    ) -> None:
        super().__init__()
        self.strided = stride > 1
        self.ghost1 = GhostModule(inputs, hidden, act=True, attention=attention)
        if self.strided:
            self.conv_dw = _conv(hidden, hidden, kernel, stride, hidden)
            self.bn_dw = nn.BatchNorm2d(hidden)
        self.se = SqueezeExcite(hidden) if squeezed else nn.Identity()
        self.ghost2 = GhostModule(hidden, outputs, act=False)
        self.shortcut = nn.Sequential()
        if inputs != outputs or self.strided:
            self.shortcut = nn.Sequential(
                _conv(inputs, inputs, kernel, stride, inputs),
                nn.BatchNorm2d(inputs),
                _conv(inputs, outputs, 1),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        inside = self.ghost1(x)
        if self.strided:
            inside = self.bn_dw(self.conv_dw(inside))
        out: Tensor = self.ghost2(self.se(inside)) + self.shortcut(x)
        return out


class ConvBnAct(nn.Module):
    """Convolution of one pixel, BatchNorm, PReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _conv(inputs, outputs, 1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.act1 = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act1(self.bn1(self.conv(x)))
        return out


class Head(nn.Module):
    """The whole last map by a depthwise convolution, then a linear layer and a BatchNorm."""

    def __init__(self, channels: int, embedding_size: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, size, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv = _conv(channels, embedding_size, 1)
        self.bn2 = nn.BatchNorm1d(embedding_size)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn2(self.conv(self.bn1(self.conv_dw(x))).flatten(1))
        return out


class GhostFaceNet(nn.Module):
    """GhostFaceNetV1 and V2 (IEEE Access 2023): images (B, 3, H, W) to embeddings (B, ``embedding_size``), not normalised.

    Args:
        attention: whether blocks have that of GhostNetV2, which makes it V2.
        width: channels, as a share of the published ones.
    """

    def __init__(
        self,
        attention: bool = True,
        width: float = 1.0,
        embedding_size: int = 512,
        input_size: Sequence[int] = (112, 112),
    ) -> None:
        super().__init__()
        if attention and min(input_size) <= STRIDE:
            raise FaceVeilError(
                f"the attention of GhostNetV2 halves the last map: images need more than {STRIDE} pixels a side."
            )
        self.num_features = embedding_size
        self.input_size = tuple(input_size)
        inputs = divisible(STEM * width)
        self.conv_stem = _conv(3, inputs, 3, 2)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.act1 = nn.PReLU()
        stages, number = [], 0
        for stage in STAGES:
            blocks = []
            for kernel, hidden, outputs, squeezed, stride in stage:
                sizes = (inputs, divisible(hidden * width), divisible(outputs * width), kernel, stride)
                blocks.append(GhostBottleneck(*sizes, squeezed=squeezed, attention=attention and number >= FIRST_ATTENTION))
                inputs, number = sizes[2], number + 1
            stages.append(nn.Sequential(*blocks))
        last = divisible(LAST * width)
        self.blocks = nn.Sequential(*stages, nn.Sequential(ConvBnAct(inputs, last)))
        rows, columns = (math.ceil(side / STRIDE) for side in input_size)
        self.classifier = Head(last, embedding_size, (rows, columns))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.blocks(self.act1(self.bn1(self.conv_stem(x)))))
        return out
