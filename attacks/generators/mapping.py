"""The mapping network: Gaussian latents z to intermediate latents w."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attacks.generators.linear import Linear, lrelu

LR_MULTIPLIER = 0.01
EPSILON = 1e-8


class Mapping(nn.Module):
    """Normalised z through ``layers`` fully connected layers; w is repeated for every layer of the synthesis.

    ``w_avg`` (w_dim,) is the running mean of w, towards which latents are truncated (arXiv 1812.04948, section B).
    """

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, num_ws: int, layers: int) -> None:
        super().__init__()
        self.num_ws, self.layers = num_ws, layers
        for number in range(layers):
            inputs = z_dim if number == 0 else w_dim
            self.add_module(f"fc{number}", Linear(inputs, w_dim, lr_multiplier=LR_MULTIPLIER))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def w(self, z: Tensor) -> Tensor:
        """(B, z_dim) -> (B, w_dim), not truncated."""
        x = z * (z.square().mean(1, keepdim=True) + EPSILON).rsqrt()
        for number in range(self.layers):
            x = lrelu(self.get_submodule(f"fc{number}")(x))
        return x

    def forward(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """(B, z_dim) -> (B, num_ws, w_dim); ``truncation`` below 1 draws w towards ``w_avg``, 0 reaches it."""
        w = self.w(z)
        if truncation != 1:
            w = self.w_avg.lerp(w, truncation)
        return w[:, None].expand(-1, self.num_ws, -1)
