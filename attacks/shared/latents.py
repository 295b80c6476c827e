"""Latents of a generator: images from them, random ones, the space in which they are Gaussian, and descent.

Latents are ws (B, num_ws, w_dim), or w (B, 1, w_dim) used for every layer.  Weights are frozen and the mapping network lies
outside of the graph: gradients reach the latents alone.  Samples never mix, so a batch gives what single images would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.interfaces import FaceGenerator, InversionContext, NotApplicableError

Space = Literal["w", "w+"]
BATCH = 256  # images scored at once where nothing is optimised
PART = 32  # images that a CPU differentiates at once: larger graphs fall out of its caches and cost 1.5 times as much each
_SLOPE = 0.2  # of the mapping network's last LeakyReLU


def generator_of(context: InversionContext) -> FaceGenerator:
    """The attacker's generator.

    Raises:
        NotApplicableError: there is none.
    """
    if context.generator is None:
        raise NotApplicableError(
            "the attacker has no generator of faces for this track: make one with `faceveil generator train`, or name a file."
        )
    return context.generator


def render(context: InversionContext, latents: Tensor) -> Tensor:
    """Images (B, 3, S, S) in [0, 1] of latents, resized where the generator has another size."""
    generator = generator_of(context)
    images = generator.images(latents.expand(-1, generator.num_ws, -1))
    return fitted(images, context.image_size)


def pictures(context: InversionContext, latents: Tensor) -> Tensor:
    """:func:`render` without gradients, in batches."""
    with torch.no_grad():
        return torch.cat([render(context, part) for part in latents.split(BATCH)])


def fitted(images: Tensor, side: int) -> Tensor:
    """Images (B, 3, side, side), resized bilinearly with antialiasing; grey ones are repeated to three channels."""
    images = images.expand(-1, 3, -1, -1)
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)


def draw(context: InversionContext, count: int, truncation: float = 1.0) -> Tensor:
    """Random w (count, 1, w_dim), the same on every device."""
    generator = generator_of(context)
    with torch.no_grad():
        return generator.mapping(torch.randn(count, generator.z_dim).to(context.device), truncation)[:, :1].contiguous()


def numbers(context: InversionContext, each: int) -> Tensor:
    """Which target each of ``count * each`` latents is for."""
    return torch.arange(context.count, device=context.device).repeat_interleave(each)


def widen(context: InversionContext, latents: Tensor, space: Space) -> Tensor:
    """A starting point (B, 1 or num_ws, w_dim) of its own, for descent in ``space``."""
    layers = generator_of(context).num_ws if space == "w+" else 1
    return latents.expand(-1, layers, -1).clone()


@dataclass(frozen=True)
class PSpace:
    """Latents before the mapping network's last LeakyReLU, where they are nearly Gaussian (MIRROR, NDSS 2022).

    ``mean`` and ``std`` (w_dim,) are those of ``samples`` random latents.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, context: InversionContext, samples: int = 2000) -> PSpace:
        p = to_p(draw(context, samples))[:, 0]
        return cls(p.mean(0), p.std(0).clamp_min(1e-6))

    def clip(self, latents: Tensor, radius: float) -> Tensor:
        """Latents moved to within ``radius`` standard deviations of the mean, coordinate by coordinate."""
        low, high = self.mean - radius * self.std, self.mean + radius * self.std
        return from_p(torch.minimum(torch.maximum(to_p(latents), low), high))

    def distance(self, latents: Tensor) -> Tensor:
        """Mean squared standard deviations (B,) from the mean: about 1 for a random latent."""
        return ((to_p(latents) - self.mean) / self.std).square().flatten(1).mean(1)


def to_p(latents: Tensor) -> Tensor:
    """w -> p, the inverse of LeakyReLU."""
    return F.leaky_relu(latents, 1 / _SLOPE)


def from_p(latents: Tensor) -> Tensor:
    """p -> w."""
    return F.leaky_relu(latents, _SLOPE)


@dataclass(frozen=True)
class Descent:
    """Adam on latents.

    ``drop`` divides the rate by ten after that share of the steps (1: never); ``average`` is how many of the last iterates
    the result is the mean of; ``clip`` is applied after every step.
    """

    steps: int
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    drop: float = 1.0
    average: int = 1
    clip: Callable[[Tensor], Tensor] | None = None

    def run(
        self, start: Tensor, loss: Callable[[Tensor, Tensor], Tensor], *, coupled: bool = False
    ) -> tuple[Tensor, list[float]]:
        """Latents after descent, and the mean loss at every step.

        Args:
            start: (B, ...), not changed.
            loss: latents (b, ...) and which rows (b,) of ``start`` they are -> (b,).
            coupled: a sample's loss depends on the others', so that all have to be seen at once.
        """
        latents = start.detach().clone()
        whole = coupled or start.device.type != "cpu"
        parts = torch.arange(len(start), device=start.device).split(len(start) if whole else PART)
        optimizer = torch.optim.Adam([latents], lr=self.lr, betas=self.betas, weight_decay=self.weight_decay)
        total, trace = torch.zeros_like(start), []
        for step in range(self.steps):
            optimizer.param_groups[0]["lr"] = self.lr / 10 if step >= self.drop * self.steps else self.lr
            found = [_differentiated(loss, latents[rows], rows) for rows in parts]
            losses, latents.grad = (torch.cat(each) for each in zip(*found, strict=True))
            optimizer.step()
            trace.append(losses.mean().item())
            if self.clip is not None:
                latents.copy_(self.clip(latents))
            if step >= self.steps - self.average:
                total += latents
        return total / min(self.average, self.steps), trace


def _differentiated(loss: Callable[[Tensor, Tensor], Tensor], latents: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (b,) and their gradients (b, ...), each by its own latent."""
    latents.requires_grad_(True)
    losses = loss(latents, rows)
    (gradient,) = torch.autograd.grad(losses.sum(), [latents])
    return losses.detach(), gradient
