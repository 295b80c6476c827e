"""Warm-up of a generator by reconstruction: a variational autoencoder whose decoder is the generator.

On a CPU an adversarial training from random weights spends most of its hours on where a face is and what colours it has.  A
variational autoencoder (arXiv 1312.6114) learns that at a third of the cost a photo, over all photos alike, so that no mode
is missing; the adversarial training then starts from its decoder and makes it sharp.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.generators.discriminator import Conv
from attacks.generators.linear import Linear
from attacks.generators.resample import filter_2d
from attacks.generators.stylegan2 import Generator
from attacks.generators.synthesis import resolutions

_SMALLEST_VARIANCE = 1e-6


class Encoder(nn.Module):
    """Images (B, 3, R, R) to mean and log variance of their latents z, each (B, z_dim); used in the warm-up only."""

    kernel: Tensor

    def __init__(self, resolution: int, z_dim: int, channel_base: int, channel_max: int) -> None:
        super().__init__()
        sizes = resolutions(resolution)[::-1]
        widths = [3, *(max(1, min(channel_base // size, channel_max)) for size in sizes[1:])]
        self.register_buffer("kernel", filter_2d(), persistent=False)
        self.convs = nn.ModuleList(Conv(a, b, 3, down=True) for a, b in pairwise(widths))
        self.out = Linear(16 * widths[-1], 2 * z_dim)
        # latents have mean 0 and variance 1 over the photos, as those that samples are drawn from
        self.standardise = nn.BatchNorm1d(z_dim, affine=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images.contiguous(memory_format=torch.channels_last)
        for conv in self.convs:
            x = conv(x, self.kernel)
        mean, log_variance = self.out(x.flatten(1)).chunk(2, 1)
        return self.standardise(mean), log_variance.clamp(-10, 10)


def warmup_loss(generator: Generator, encoder: Encoder, images: Tensor, weight: float = 1.0) -> tuple[Tensor, Tensor]:
    """The evidence bound in nats a pixel, and the mean squared error of the reconstructions.

    The variance of the pixels is the error itself (sigma-VAE, arXiv 2006.13202), which balances the terms; a ``weight``
    of the divergence above 1 (arXiv 1804.03599) trades sharper reconstructions for better samples.
    """
    mean, log_variance = encoder(images)
    z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
    drawn = generator.synthesis(generator.mapping(z), "none")
    error = F.mse_loss(drawn, images)
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
    return 0.5 * (error + _SMALLEST_VARIANCE).log() + weight * divergence / images[0].numel(), error.detach()
