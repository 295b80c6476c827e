"""Stage 2 of the founding paper: a generator's latents moved until the membership attack says "member"."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.shared.latents import Descent, PSpace, Space, draw, pictures, render, widen
from attacks.shared.objectives import Objective, embedded_pool, guide_of, membership_objective, scores_of
from benchmark.interfaces import (
    Access,
    AttackSpec,
    Goal,
    InversionAttack,
    InversionContext,
    InversionOutput,
    Reference,
)


class BNGuided(InversionAttack):
    """Untargeted recovery of training identities: membership logit, latent prior, identity coverage.

    The loss of an image is -log P(member) by the guide, plus ``prior`` times its latent's mean squared deviation from the
    latent mean (in the near-Gaussian P space), plus ``coverage`` times how much the attacked model's cosines to the other
    images of the chunk exceed ``apart``, so that not all of them become the one easiest person.  The paper's loss form is
    not published: the first term is the paper's, the others are our reading of its prior.
    """

    name: ClassVar[str] = "bn_guided"
    title: ClassVar[str] = "BN-guided StyleGAN"
    summary: ClassVar[str] = "Latents moved until the BN-distance membership attack says member."
    reference: ClassVar[Reference] = Reference(
        title="Inference Attacks Against Face Recognition Model without Classification Layers",
        where="2024",
        arxiv="2401.13719",
        equation="stage 2",
    )
    access: ClassVar[Access] = Access.WEIGHTS
    goals: ClassVar[tuple[Goal, ...]] = (Goal.TRAINING_IDENTITIES,)

    guide: AttackSpec = AttackSpec(name="bn_distance")
    steps: int = Field(100, ge=1)
    lr: float = Field(0.02, gt=0)
    pool: int = Field(4, ge=1)  # random latents for each image wanted, of which the likeliest members are started from
    prior: float = Field(0.1, ge=0)
    coverage: float = Field(1.0, ge=0)
    apart: float = Field(0.3, ge=-1, le=1)
    space: Space = "w"

    def invert(self, context: InversionContext) -> InversionOutput:
        objective = membership_objective(guide_of(context, self.guide))
        gaussian = PSpace.of(context)
        start = self._starts(context, objective)
        others = ~torch.eye(context.count, dtype=torch.bool, device=context.device)

        def loss(latents: Tensor, rows: Tensor) -> Tensor:
            images = render(context, latents)
            losses = objective(images, rows) + self.prior * gaussian.distance(latents)
            if self.coverage and context.count > 1:
                unit = F.normalize(context.target.features(images))
                excess = (unit @ unit.T - self.apart).clamp_min(0) * others
                losses = losses + self.coverage * excess.sum(1) / 2  # a pair counts once
            return losses

        descent, coupled = Descent(self.steps, self.lr, drop=0.7), self.coverage > 0
        latents, trace = descent.run(widen(context, start, self.space), loss, coupled=coupled)
        return InversionOutput(pictures(context, latents), trace)

    def _starts(self, context: InversionContext, objective: Objective) -> Tensor:
        """The likeliest members of a random pool, none closer than ``apart`` to a likelier one while there are others."""
        pool = draw(context, self.pool * context.count)
        order = scores_of(context, pool, objective, torch.zeros(len(pool), dtype=torch.long)).argsort()
        if not self.coverage:
            return pool[order[: context.count]]
        unit = embedded_pool(context, pool)[order]
        kept: list[int] = []
        for row in range(len(order)):
            if not kept or (unit[kept] @ unit[row]).max() <= self.apart:
                kept.append(row)
        kept += [row for row in range(len(order)) if row not in set(kept)]
        return pool[order[torch.tensor(kept[: context.count], device=order.device)]]
