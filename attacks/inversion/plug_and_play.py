"""Plug & Play attacks in their headless form: robust latent search over random crops."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.shared.latents import BATCH, Descent, draw, numbers, pictures, render
from attacks.shared.objectives import Objective, embedded_pool, objective_for, scores_of
from benchmark.interfaces import Access, AttackSpec, Goal, InversionAttack, InversionContext, InversionOutput, Reference


class PlugAndPlay(InversionAttack):
    """Candidates from truncated latents, descent under random crops, the final choice by many random crops.

    The published settings are 2000 candidates, 200 of them optimised, 50 steps, and 100 transforms to choose the final 50 by;
    here the candidates are shared by all targets.  The classifier's loss becomes 1 - cosine to the leaked template or, without
    one, the loss of a membership guide.  ``head`` restores a class loss: a reference, not headless.
    """

    name: ClassVar[str] = "plug_and_play"
    title: ClassVar[str] = "Plug & Play"
    summary: ClassVar[str] = "Latent search under random crops from truncated candidates, without a head."
    reference: ClassVar[Reference] = Reference(
        title="Plug & Play Attacks: Towards Robust and Flexible Model Inversion Attacks", where="ICML 2022", arxiv="2201.12179"
    )
    access: ClassVar[Access] = Access.WEIGHTS
    goals: ClassVar[tuple[Goal, ...]] = (Goal.TEMPLATE, Goal.TRAINING_IDENTITIES)

    candidates: int = Field(500, ge=1)
    optimised: int = Field(4, ge=1)  # for each image wanted
    truncation: float = Field(0.5, gt=0, le=1)
    steps: int = Field(50, ge=1)
    lr: float = Field(0.02, gt=0)
    betas: tuple[float, float] = (0.1, 0.1)
    crop: float = Field(0.9, gt=0, le=1)  # the smallest side of a random crop
    transforms: int = Field(20, ge=1)  # by which the final choice is made
    guide: AttackSpec = AttackSpec(name="bn_distance")
    head: bool = False

    def required_access(self) -> Access:
        return Access.HEAD if self.head else Access.WEIGHTS

    def invert(self, context: InversionContext) -> InversionOutput:
        objective = objective_for(context, self.guide, self.head)
        number = numbers(context, self.optimised)
        start = self._starts(context, objective)

        def loss(latents: Tensor, rows: Tensor) -> Tensor:
            return objective(random_crops(render(context, latents), self.crop), number[rows])

        latents, trace = Descent(self.steps, self.lr, self.betas).run(start, loss)
        total = torch.zeros(len(latents), device=context.device)
        with torch.no_grad():
            for part in torch.arange(len(latents), device=context.device).split(BATCH):
                images = render(context, latents[part])
                for _ in range(self.transforms):
                    total[part] += objective(random_crops(images, self.crop), number[part])
        best = total.view(context.count, self.optimised).argmin(1)
        rows = torch.arange(context.count, device=context.device) * self.optimised + best
        return InversionOutput(pictures(context, latents[rows]), trace)

    def _starts(self, context: InversionContext, objective: Objective) -> Tensor:
        """For every image wanted its best candidates; without a template or class the best of them all, in turn."""
        pool = draw(context, max(self.candidates, self.optimised), self.truncation)
        wanted = context.count * self.optimised
        if context.goal == Goal.TEMPLATE and context.templates is not None and not self.head:
            cosines = F.normalize(context.templates) @ embedded_pool(context, pool).T
            return pool[cosines.topk(self.optimised, dim=1).indices.flatten()]
        if self.head:
            each = [scores_of(context, pool, objective, torch.full((len(pool),), n)) for n in range(context.count)]
            return pool[torch.stack(each).topk(self.optimised, dim=1, largest=False).indices.flatten()]
        pool = draw(context, max(self.candidates, wanted), self.truncation)
        losses = scores_of(context, pool, objective, torch.zeros(len(pool), dtype=torch.long))
        return pool[losses.argsort()[:wanted].view(self.optimised, context.count).T.flatten()]


def random_crops(images: Tensor, smallest: float) -> Tensor:
    """A square crop of each image, its side drawn from [smallest, 1] and its place at random, resized to the whole."""
    side = smallest + (1 - smallest) * torch.rand(len(images))
    shift = (torch.rand(len(images), 2) * 2 - 1) * (1 - side)[:, None]
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
