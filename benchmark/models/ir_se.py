"""IR and IR-SE, the improved ResNet without and with squeeze-and-excitation, with the module names of the public versions.

InsightFace_Pytorch, face.evoLVe and TFace share one naming; AdaFace and CVLface have a BatchNorm more in each block,
no scale in the last one, and blocks of three convolutions at 152 and 200 layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from benchmark.models.mobilefacenet import halved, initialise, scaled

CHANNELS = (64, 128, 256, 512)
REDUCTION = 16


class SEModule(nn.Module):
    """Squeeze-and-excitation (arXiv 1709.01507): channels weighted by a gate on their spatial mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // REDUCTION)
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.relu = nn.ReLU()
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.sigmoid(self.fc2(self.relu(self.fc1(self.avg_pool(x)))))
        return out


class BlockIR(nn.Module):
    """``convolutions`` between two BatchNorms, (SE,) plus the subsampled or projected input."""

    def __init__(self, inputs: int, outputs: int, stride: int, convolutions: Sequence[nn.Module], se: bool) -> None:
        super().__init__()
        if inputs == outputs:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs), *convolutions, nn.BatchNorm2d(outputs), *([SEModule(outputs)] if se else [])
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut_layer(x) + self.res_layer(x)
        return out


def basic(inputs: int, outputs: int, stride: int, middle_norm: bool) -> list[nn.Module]:
    """Conv 3x3, (BN,) PReLU, conv 3x3 (strided)."""
    return [
        nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
        *([nn.BatchNorm2d(outputs)] if middle_norm else []),
        nn.PReLU(outputs),
        nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
    ]


def narrow(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """Conv 1x1, BN, PReLU, conv 3x3, BN, PReLU, conv 1x1 (strided), a quarter of the channels in between."""
    inner = outputs // 4
    return [
        nn.Conv2d(inputs, inner, 1, bias=False),
        nn.BatchNorm2d(inner),
        nn.PReLU(inner),
        nn.Conv2d(inner, inner, 3, 1, 1, bias=False),
        nn.BatchNorm2d(inner),
        nn.PReLU(inner),
        nn.Conv2d(inner, outputs, 1, stride, bias=False),
    ]


class IRSE(nn.Module):
    """IR and IR-SE (arXiv 1801.07698): images (B, 3, H, W) to embeddings (B, ``embedding_size``), not normalised.

    Args:
        layers: blocks in each of the four stages; every stage halves the map.
        width: multiplier of every channel count (rounded to a multiple of 8).
        input_size: height and width of the images; the final linear layer spans the whole map.
        dropout: rate before the final linear layer.
        se: whether blocks end with squeeze-and-excitation.
        middle_norm: whether blocks have a BatchNorm behind their first convolution, too.
        bottleneck: whether blocks are of three convolutions, a BatchNorm behind each, with four times the channels outside.
        affine: whether the BatchNorm of the embedding has weights and biases.
    """

    def __init__(
        self,
        layers: Sequence[int],
        width: float = 1.0,
        embedding_size: int = 512,
        input_size: Sequence[int] = (112, 112),
        dropout: float = 0.0,
        se: bool = True,
        middle_norm: bool = False,
        affine: bool = True,
        bottleneck: bool = False,
    ) -> None:
        super().__init__()
        self.num_features = embedding_size
        self.input_size = tuple(input_size)
        channels = scaled(CHANNELS[0], width)
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.PReLU(channels)
        )
        blocks = []
        for repeats, outputs in zip(layers, CHANNELS, strict=True):
            outputs = scaled(outputs, width) * (4 if bottleneck else 1)
            for number in range(repeats):
                stride = 2 if number == 0 else 1
                inside = narrow(channels, outputs, stride) if bottleneck else basic(channels, outputs, stride, middle_norm)
                blocks.append(BlockIR(channels, outputs, stride, inside, se))
                channels = outputs
        self.body = nn.Sequential(*blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(channels * math.prod(halved(input_size, 4)), embedding_size),
            nn.BatchNorm1d(embedding_size, affine=affine),
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output_layer(self.body(self.input_layer(x)))
        return out
