"""The losses of StyleGAN2 (arXiv 1912.04958): non-saturating logistic, R1 and path length."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.generators.stylegan2 import Generator

PATH_DECAY = 0.01


def generator_loss(fake: Tensor) -> Tensor:
    """Mean of -log sigmoid over logits (B,) of generated images (arXiv 1406.2661, the non-saturating form)."""
    return F.softplus(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Logistic loss over logits of real and generated images."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def r1_penalty(images: Tensor, logits: Tensor) -> Tensor:
    """Mean squared norm of the gradient of ``logits`` (B,) on real ``images`` that require it (arXiv 1801.04406, R1)."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def path_penalty(generator: Generator, ws: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """How far image changes per change of w are from their running mean (appendix B), and the new running mean.

    Args:
        ws: (B, num_ws, w_dim), with gradient.
        mean: (), the running mean of path lengths.
    """
    images = generator.synthesis(ws, "random")
    direction = torch.randn_like(images) / math.sqrt(images.shape[-1] * images.shape[-2])
    (gradient,) = torch.autograd.grad((images * direction).sum(), ws, create_graph=True)
    lengths = gradient.square().sum(2).mean(1).sqrt()
    mean = mean.lerp(lengths.mean().detach(), PATH_DECAY)
    return (lengths - mean).square().mean(), mean
