"""Inception-ResNet-v1 (arXiv 1602.07261), with the module names of facenet-pytorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, int]
EPS = 0.001  # of the BatchNorms, as in the TensorFlow version that the weights come from


class BasicConv2d(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int | Shape, stride: int = 1, padding: int | Shape = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=EPS)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.bn(self.conv(x)))
        return out


class Branches(nn.Module):
    """Branches ``branch0``, ``branch1``, ... side by side, their channels behind one another."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        for number, branch in enumerate(branches):
            setattr(self, f"branch{number}", branch)
        self.count = len(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([getattr(self, f"branch{number}")(x) for number in range(self.count)], 1)


class InceptionBlock(Branches):
    """Branches, projected, scaled and added to their input; then ReLU, unless ``linear``."""

    def __init__(self, channels: int, joined: int, scale: float, *branches: nn.Module, linear: bool = False) -> None:
        super().__init__(*branches)
        self.conv2d = nn.Conv2d(joined, channels, 1)
        self.scale, self.linear = scale, linear

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2d(super().forward(x)) * self.scale + x
        return out if self.linear else F.relu(out)


def _row(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


def _block35() -> InceptionBlock:
    return InceptionBlock(
        256,
        96,
        0.17,
        BasicConv2d(256, 32, 1),
        _row(BasicConv2d(256, 32, 1), BasicConv2d(32, 32, 3, 1, 1)),
        _row(BasicConv2d(256, 32, 1), BasicConv2d(32, 32, 3, 1, 1), BasicConv2d(32, 32, 3, 1, 1)),
    )


def _block17() -> InceptionBlock:
    long = _row(BasicConv2d(896, 128, 1), BasicConv2d(128, 128, (1, 7), 1, (0, 3)), BasicConv2d(128, 128, (7, 1), 1, (3, 0)))
    return InceptionBlock(896, 256, 0.10, BasicConv2d(896, 128, 1), long)


def _block8(scale: float = 0.20, linear: bool = False) -> InceptionBlock:
    long = _row(BasicConv2d(1792, 192, 1), BasicConv2d(192, 192, (1, 3), 1, (0, 1)), BasicConv2d(192, 192, (3, 1), 1, (1, 0)))
    return InceptionBlock(1792, 384, scale, BasicConv2d(1792, 192, 1), long, linear=linear)


class InceptionResnetV1(nn.Module):
    """Images (B, 3, H, W) to embeddings (B, ``embedding_size``) of length 1."""

    def __init__(self, embedding_size: int = 512, input_size: Sequence[int] = (160, 160), dropout: float = 0.0) -> None:
        super().__init__()
        self.num_features = embedding_size
        self.input_size = tuple(input_size)
        self.conv2d_1a = BasicConv2d(3, 32, 3, 2)
        self.conv2d_2a = BasicConv2d(32, 32, 3)
        self.conv2d_2b = BasicConv2d(32, 64, 3, 1, 1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = BasicConv2d(64, 80, 1)
        self.conv2d_4a = BasicConv2d(80, 192, 3)
        self.conv2d_4b = BasicConv2d(192, 256, 3, 2)
        self.repeat_1 = _row(*(_block35() for _ in range(5)))
        self.mixed_6a = Branches(
            BasicConv2d(256, 384, 3, 2),
            _row(BasicConv2d(256, 192, 1), BasicConv2d(192, 192, 3, 1, 1), BasicConv2d(192, 256, 3, 2)),
            nn.MaxPool2d(3, 2),
        )
        self.repeat_2 = _row(*(_block17() for _ in range(10)))
        self.mixed_7a = Branches(
            _row(BasicConv2d(896, 256, 1), BasicConv2d(256, 384, 3, 2)),
            _row(BasicConv2d(896, 256, 1), BasicConv2d(256, 256, 3, 2)),
            _row(BasicConv2d(896, 256, 1), BasicConv2d(256, 256, 3, 1, 1), BasicConv2d(256, 256, 3, 2)),
            nn.MaxPool2d(3, 2),
        )
        self.repeat_3 = _row(*(_block8() for _ in range(5)))
        self.block8 = _block8(1.0, linear=True)
        self.avgpool_1a = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(1792, embedding_size, bias=False)
        self.last_bn = nn.BatchNorm1d(embedding_size, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(x))))
        x = self.repeat_2(self.mixed_6a(self.repeat_1(x)))
        x = self.block8(self.repeat_3(self.mixed_7a(x)))
        x = self.dropout(self.avgpool_1a(x)).flatten(1)
        return F.normalize(self.last_bn(self.last_linear(x)), dim=1)
