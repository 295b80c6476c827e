"""The two MobileFaceNets of InsightFace's projects, with their module names."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from benchmark.models.mobilefacenet import halved, initialise, scaled

KERNEL = 3

Kernel = tuple[int, int]


def _padding(kernel: Kernel, linear: bool) -> int:
    """Of the kernels of three pixels; not of the last one, linear, which spans a map that small images leave as small."""
    return KERNEL // 2 if kernel == (KERNEL, KERNEL) and not linear else 0


class ConvBlock(nn.Module):
    """Convolution, BatchNorm and, unless ``linear``, PReLU, as InsightFace_Pytorch names them."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, groups: int = 1, linear: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, _padding(kernel, linear), groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = nn.Identity() if linear else nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.prelu(self.bn(self.conv(x)))
        return out


class DepthWise(nn.Module):
    """Expand, depthwise convolution, project; with the input added where it is ``residual``."""

    def __init__(self, inputs: int, outputs: int, hidden: int, stride: int, residual: bool = False) -> None:
        super().__init__()
        self.residual = residual
        self.conv = ConvBlock(inputs, hidden, (1, 1))
        self.conv_dw = ConvBlock(hidden, hidden, (3, 3), stride, hidden)
        self.project = ConvBlock(hidden, outputs, (1, 1), linear=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.conv_dw(self.conv(x)))
        result: Tensor = x + out if self.residual else out
        return result


class _Residual(nn.Module):
    def __init__(self, channels: int, count: int, hidden: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(DepthWise(channels, channels, hidden, 1, residual=True) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


class MobileFaceNetIRSE(nn.Module):
    """MobileFaceNet of InsightFace_Pytorch and face.evoLVe: images (B, 3, H, W) to embeddings (B, ``embedding_size``).

    Args:
        width: multiplier of every channel count (rounded to a multiple of 8).
        input_size: height and width of the images; the last depthwise convolution spans the whole map.
    """

    def __init__(self, width: float = 1.0, embedding_size: int = 512, input_size: Sequence[int] = (112, 112)) -> None:
        super().__init__()
        self.num_features = embedding_size
        self.input_size = tuple(input_size)
        c64, c128, c256, c512 = (scaled(c, width) for c in (64, 128, 256, 512))
        self.conv1 = ConvBlock(3, c64, (3, 3), 2)
        self.conv2_dw = ConvBlock(c64, c64, (3, 3), 1, c64)
        self.conv_23 = DepthWise(c64, c64, c128, 2)
        self.conv_3 = _Residual(c64, 4, c128)
        self.conv_34 = DepthWise(c64, c128, c256, 2)
        self.conv_4 = _Residual(c128, 6, c256)
        self.conv_45 = DepthWise(c128, c128, c512, 2)
        self.conv_5 = _Residual(c128, 2, c256)
        self.conv_6_sep = ConvBlock(c128, c512, (1, 1))
        self.conv_6_dw = ConvBlock(c512, c512, halved(input_size, 4), groups=c512, linear=True)
        self.linear = nn.Linear(c512, embedding_size, bias=False)
        self.bn = nn.BatchNorm1d(embedding_size)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_3(self.conv_23(self.conv2_dw(self.conv1(x))))
        x = self.conv_5(self.conv_45(self.conv_4(self.conv_34(x))))
        out: Tensor = self.bn(self.linear(self.conv_6_dw(self.conv_6_sep(x)).flatten(1)))
        return out


class _Layers(nn.Module):
    """Layers in a row, added to their input where they are ``residual``; arcface_torch calls every such row ``layers``."""

    def __init__(self, *layers: nn.Module, residual: bool = False) -> None:
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x) if self.residual else self.layers(x)
        return out


def _conv(inputs: int, outputs: int, kernel: Kernel, stride: int = 1, groups: int = 1, linear: bool = False) -> _Layers:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, _padding(kernel, linear), groups=groups, bias=False)
    return _Layers(conv, nn.BatchNorm2d(outputs), *([] if linear else [nn.PReLU(outputs)]))


def _depthwise(inputs: int, outputs: int, hidden: int, stride: int, residual: bool = False) -> _Layers:
    return _Layers(
        _conv(inputs, hidden, (1, 1)),
        _conv(hidden, hidden, (3, 3), stride, hidden),
        _conv(hidden, outputs, (1, 1), linear=True),
        residual=residual,
    )


def _residuals(channels: int, count: int, hidden: int) -> _Layers:
    return _Layers(*(_depthwise(channels, channels, hidden, 1, residual=True) for _ in range(count)))


class MobileFaceNetArcFace(nn.Module):
    """MobileFaceNet of arcface_torch (``mbf``, ``mbf_large``): images (B, 3, H, W) to embeddings (B, ``embedding_size``).

    Args:
        blocks: residual blocks of the four stages; a first 1 stands for one grouped convolution.
        scale: multiplier of the channels between blocks, not of those inside.
        width: multiplier of every channel count (rounded to a multiple of 8).
    """

    def __init__(
        self,
        blocks: Sequence[int] = (1, 4, 6, 2),
        scale: int = 2,
        width: float = 1.0,
        embedding_size: int = 512,
        input_size: Sequence[int] = (112, 112),
    ) -> None:
        super().__init__()
        self.num_features = embedding_size
        self.input_size = tuple(input_size)
        w64, c128, c256, c512 = (scaled(c, width) for c in (64, 128, 256, 512))
        narrow, broad = w64 * scale, c128 * scale
        first = _conv(narrow, narrow, (3, 3), 1, w64) if blocks[0] == 1 else _residuals(narrow, blocks[0], c128)
        self.layers = nn.ModuleList(
            [
                _conv(3, narrow, (3, 3), 2),
                first,
                _depthwise(narrow, narrow, c128, 2),
                _residuals(narrow, blocks[1], c128),
                _depthwise(narrow, broad, c256, 2),
                _residuals(broad, blocks[2], c256),
                _depthwise(broad, broad, c512, 2),
                _residuals(broad, blocks[3], c256),
            ]
        )
        self.conv_sep = _conv(broad, c512, (1, 1))
        self.features = _Layers(
            _conv(c512, c512, halved(input_size, 4), groups=c512, linear=True),
            nn.Flatten(),
            nn.Linear(c512, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size),
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.features(self.conv_sep(x))
        return out
