"""IResNet, the backbone of the ArcFace authors, with the module names of InsightFace's arcface_torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from benchmark.models.mobilefacenet import halved, initialise, scaled

CHANNELS = (64, 128, 256, 512)


class IBasicBlock(nn.Module):
    """BN, conv 3x3, BN, PReLU, conv 3x3 (strided), BN, plus the (projected) input."""

    def __init__(self, inputs: int, outputs: int, stride: int, skip: float = 1.0) -> None:
        super().__init__()
        self.skip = skip  # factor of the input; 0: none is added
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if skip and (stride != 1 or inputs != outputs):
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out = self.bn3(self.conv2(out))
        if not self.skip:
            return out
        x = x if self.downsample is None else self.downsample(x)
        return out + (x if self.skip == 1 else self.skip * x)


class IResNet(nn.Module):
    """IResNet (arXiv 1801.07698, section 3.1): images (B, 3, H, W) to embeddings (B, ``embedding_size``), not normalised.

    Args:
        layers: blocks in each of the four stages; every stage halves the map.
        width: multiplier of every channel count (rounded to a multiple of 8).
        input_size: height and width of the images; the final linear layer spans the whole map.
        stem_stride: 1 as published; 2 halves the map once more at the start, for speed.
        dropout: rate before the final linear layer.
        last_skip: factor of the skip connections of the last stage; 0 removes them (arXiv 2409.01696).
    """

    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    def __init__(
        self,
        layers: Sequence[int],
        width: float = 1.0,
        embedding_size: int = 512,
        input_size: Sequence[int] = (112, 112),
        stem_stride: int = 1,
        dropout: float = 0.0,
        last_skip: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_features = embedding_size
        self.input_size = tuple(input_size)
        stem = scaled(CHANNELS[0], width)
        self.conv1 = nn.Conv2d(3, stem, 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.prelu = nn.PReLU(stem)
        inputs = stem
        for number, (repeats, channels) in enumerate(zip(layers, CHANNELS, strict=True), start=1):
            outputs = scaled(channels, width)
            skip = last_skip if number == len(CHANNELS) else 1.0
            blocks = [IBasicBlock(inputs if n == 0 else outputs, outputs, 2 if n == 0 else 1, skip) for n in range(repeats)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            inputs = outputs
        self.bn2 = nn.BatchNorm2d(inputs)
        self.dropout = nn.Dropout(dropout)
        size = halved(input_size, 4 + (stem_stride == 2))
        self.fc = nn.Linear(inputs * math.prod(size), embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)
        self.features.weight.requires_grad_(False)  # as published: the embedding's scale is not learned
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.dropout(self.bn2(x).flatten(1))
        out: Tensor = self.features(self.fc(x))
        return out
