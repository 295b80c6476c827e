"""DeepInversion: batches of images whose features have the statistics that the BatchNorm layers stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.shared.latents import Descent, PSpace, draw, render
from benchmark.interfaces import Access, Goal, InversionAttack, InversionContext, InversionOutput, Reference
from benchmark.signals.channel_moments import normalisation_layers, recording, stored_statistics


class DeepInversion(InversionAttack):
    """Sum over layers of ||batch mean - running mean|| + ||batch variance - running variance||, the first layer times ten.

    In ``pixels`` with total variation and l2 as the prior (published weights 1e-4 and 1e-5, rate 0.2 to 0.25), or through a
    generator (``w``) whose latents are the prior.  Without a head there is no class term: what the batch shows is left to the
    statistics.  It needs batches, so images of one chunk depend on each other.
    """

    name: ClassVar[str] = "deep_inversion"
    title: ClassVar[str] = "DeepInversion"
    summary: ClassVar[str] = "Images whose batch statistics match those that BatchNorm stored, in pixels or latents."
    reference: ClassVar[Reference] = Reference(
        title="Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", where="CVPR 2020", arxiv="1912.08795"
    )
    access: ClassVar[Access] = Access.WEIGHTS
    goals: ClassVar[tuple[Goal, ...]] = (Goal.TRAINING_IDENTITIES,)

    space: Literal["w", "pixels"] = "w"
    steps: int = Field(100, ge=1)
    lr: float | None = Field(None, gt=0)  # None: 0.05 for latents, 0.2 for pixels
    first: float = Field(10.0, ge=0)  # weight of the first BatchNorm layer
    statistics: float = Field(0.05, gt=0)  # weight of all of them
    variation: float = Field(1e-4, ge=0)
    l2: float = Field(1e-5, ge=0)
    prior: float = Field(0.01, ge=0)  # of latents, as in bn_guided

    def invert(self, context: InversionContext) -> InversionOutput:
        layers = normalisation_layers(context.target.backbone, "stored")
        stored = stored_statistics(context.target.backbone).moments
        if self.space == "w":
            gaussian = PSpace.of(context)
            start = draw(context, context.count)
            image: Callable[[Tensor], Tensor] = lambda latents: render(context, latents)  # noqa: E731
            penalty: Callable[[Tensor, Tensor], Tensor] = lambda latents, _images: self.prior * gaussian.distance(latents)  # noqa: E731
        else:
            start = torch.randn(context.count, 3, context.image_size, context.image_size).to(context.device)
            image, penalty = torch.sigmoid, lambda _pixels, images: self._pixel_prior(images)

        def loss(latents: Tensor, _rows: Tensor) -> Tensor:
            images = image(latents)
            found: dict[str, tuple[Tensor, Tensor]] = {}
            with recording(layers, lambda name, features: found.update({name: _moments(features)})):
                context.target.features(images)
            weights = [self.first] + [1.0] * (len(layers) - 1)
            distances = [
                w * ((found[name][0] - mean).norm() + (found[name][1] - variance).norm())
                for w, (name, (mean, variance)) in zip(weights, stored.items(), strict=True)
            ]
            return self.statistics * sum(distances, images.new_zeros(())) / len(images) + penalty(latents, images)

        lr = self.lr or (0.05 if self.space == "w" else 0.2)
        latents, trace = Descent(self.steps, lr, drop=0.8).run(start, loss, coupled=True)
        with torch.no_grad():
            return InversionOutput(image(latents), trace)

    def _pixel_prior(self, images: Tensor) -> Tensor:
        """Total variation (l2, four directions) and l2 norm of each image (B,), scaled to 255 grey levels' usual inputs."""
        scaled = images * 2 - 1
        right, down = scaled[..., 1:] - scaled[..., :-1], scaled[..., 1:, :] - scaled[..., :-1, :]
        falling = scaled[..., 1:, 1:] - scaled[..., :-1, :-1]
        rising = scaled[..., 1:, :-1] - scaled[..., :-1, 1:]
        variation = sum(d.flatten(1).norm(dim=1) for d in (right, down, falling, rising))
        out: Tensor = self.variation * variation + self.l2 * scaled.flatten(1).norm(dim=1)
        return out


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (C,) over batch and space of (B, C, ...)."""
    variance, mean = torch.var_mean(features, [d for d in range(features.dim()) if d != 1], correction=0)
    return mean, variance
