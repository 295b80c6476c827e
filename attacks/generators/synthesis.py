"""The synthesis network: latents w, one a layer, to images; blocks whose RGB outputs are summed (skip)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attacks.generators.modulated import NOISES, Noise, SynthesisLayer, ToRGB
from attacks.generators.resample import filter_2d, upsample
from benchmark.interfaces import FaceVeilError


def resolutions(resolution: int) -> list[int]:
    """4, 8, ... up to ``resolution``.

    Raises:
        FaceVeilError: not a power of two from 4 to 1024.
    """
    if not 4 <= resolution <= 1024 or resolution & (resolution - 1):
        raise FaceVeilError(f"a StyleGAN2 generator draws 4, 8, 16, ... or 1024 pixels, not {resolution}.")
    return [2**power for power in range(2, int(math.log2(resolution)) + 1)]


class Block(nn.Module):
    """The layers of one resolution.  The first block starts from a learned constant and has one convolution, others two."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, resolution: int, clamp: float | None) -> None:
        super().__init__()
        if inputs:
            self.conv0 = SynthesisLayer(inputs, outputs, w_dim, resolution, up=True, clamp=clamp)
        else:
            self.const = nn.Parameter(torch.randn(outputs, resolution, resolution))
        self.conv1 = SynthesisLayer(outputs, outputs, w_dim, resolution, clamp=clamp)
        self.torgb = ToRGB(outputs, w_dim, clamp=clamp)
        self.convs = 2 if inputs else 1

    def forward(self, x: Tensor | None, rgb: Tensor | None, ws: Tensor, kernel: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Features and image so far, and ``convs`` + 1 latents (B, convs + 1, w_dim) -> features and image, larger."""
        if x is None:
            x = self.const.expand(len(ws), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        else:
            x = self.conv0(x, ws[:, 0], kernel, noise)
        x = self.conv1(x, ws[:, self.convs - 1], kernel, noise)
        own = self.torgb(x, ws[:, self.convs])
        return x, own if rgb is None else upsample(rgb, kernel) + own


class Synthesis(nn.Module):
    """Blocks ``b4``, ``b8``, ... ; block r has min(channel_base / r, channel_max) channels."""

    kernel: Tensor

    def __init__(self, resolution: int, w_dim: int, channel_base: int, channel_max: int, clamp: float | None) -> None:
        super().__init__()
        self.sizes = resolutions(resolution)
        self.num_ws = 2 * len(self.sizes)
        self.register_buffer("kernel", filter_2d(), persistent=False)
        inputs = 0
        for size in self.sizes:
            outputs = max(1, min(channel_base // size, channel_max))
            self.add_module(f"b{size}", Block(inputs, outputs, w_dim, size, clamp))
            inputs = outputs

    def forward(self, ws: Tensor, noise: Noise = "const") -> Tensor:
        """(B, num_ws, w_dim) -> (B, 3, resolution, resolution), about [-1, 1].

        Raises:
            FaceVeilError: latents of another shape, or no such kind of noise.
        """
        if noise not in NOISES:
            raise FaceVeilError(f"no noise {noise!r}; one of {', '.join(NOISES)}.")
        if ws.dim() != 3 or ws.shape[1] != self.num_ws:
            raise FaceVeilError(f"latents must have shape (B, {self.num_ws}, w_dim), not {tuple(ws.shape)}.")
        x: Tensor | None = None
        rgb: Tensor | None = None
        first = 0
        for size in self.sizes:
            block = self.get_submodule(f"b{size}")
            assert isinstance(block, Block)
            x, rgb = block(x, rgb, ws[:, first : first + block.convs + 1], self.kernel, noise)
            first += block.convs  # the latent of a block's image is also that of the next block's first layer
        assert rgb is not None
        return rgb
