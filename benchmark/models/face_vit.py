"""The vision transformer of arcface_torch and CVLface, with their module names: blocks of timm, and a head over all patches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmark.interfaces import FaceVeilError

EPS = 2e-5  # of the embedding's norms, as published


class PatchEmbed(nn.Module):
    """Square patches of the image, left to right and down, as vectors; what is left at the edges is not looked at."""

    def __init__(self, patch: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return out


class FaceViT(nn.Module):
    """ViT (arXiv 2010.11929) without a class token: images (B, 3, H, W) to embeddings (B, ``embedding_size``), not normalised.

    All patches enter the embedding by two linear layers with BatchNorm.  ``mask_token`` stood for patches hidden while the
    published networks were trained; it is kept as it was, and not used.

    Args:
        patch: side of a patch in pixels.
        channels: length of a patch's vector.
        depth: blocks.
        heads: of the attention.
        ratio: width of the blocks' networks, in vectors.
        masked: whether the network has a ``mask_token``.
    """

    mask_token: Tensor

    def __init__(
        self,
        patch: int = 8,
        channels: int = 512,
        depth: int = 12,
        heads: int = 8,
        ratio: int = 5,
        masked: bool = True,
        embedding_size: int = 512,
        input_size: Sequence[int] = (112, 112),
    ) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block

        if channels % heads:
            raise FaceVeilError(f"a vector of {channels} numbers does not split into {heads} heads.")
        self.num_features = embedding_size
        self.input_size = tuple(input_size)
        patches = math.prod(side // patch for side in input_size)
        self.patch_embed = PatchEmbed(patch, channels)
        self.pos_embed = nn.Parameter(torch.zeros(1, patches, channels))
        if masked:
            self.register_buffer("mask_token", torch.zeros(1, 1, channels))
        self.blocks = nn.Sequential(
            *(Block(channels, heads, ratio, act_layer=nn.ReLU6, norm_layer=nn.LayerNorm) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(channels)
        self.feature = nn.Sequential(
            nn.Linear(channels * patches, channels, bias=False),
            nn.BatchNorm1d(channels, eps=EPS),
            nn.Linear(channels, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size, eps=EPS),
        )
        self.apply(_initialise)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.patch_embed(x) + self.pos_embed)
        out: Tensor = self.feature(self.norm(x).flatten(1))
        return out


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
