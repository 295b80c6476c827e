"""Template inversion: from one leaked embedding to a face, by search in the latent space of a generator."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.shared.latents import BATCH, Descent, Space, draw, numbers, pictures, render, widen
from attacks.shared.objectives import best_starts, scores_of, template_objective
from benchmark.interfaces import Access, Goal, InversionAttack, InversionContext, InversionOutput, NotApplicableError, Reference


class Template(InversionAttack):
    """Adversarial latent search with unsupervised validation, after ALSUV.

    Many latents are optimised for every template at once, each averaged over its last iterates.  An encoder of the attacker's
    own then says which of them to return: the one nearest to the mean of all of them in its space, so that what only
    fools the attacked model is outvoted.  The published settings are 100 latents, 100 steps, weight decay 5e-4 and mirrored
    images beside plain ones (``flip``, for models that were trained on those, too).
    """

    name: ClassVar[str] = "template"
    title: ClassVar[str] = "template inversion"
    summary: ClassVar[str] = "Many latents optimised towards a leaked template, chosen by an unseen encoder."
    reference: ClassVar[Reference] = Reference(
        title="Scores of Tempered Faces: adversarial latent search with unsupervised validation", where="ECCV 2024"
    )
    access: ClassVar[Access] = Access.WEIGHTS
    goals: ClassVar[tuple[Goal, ...]] = (Goal.TEMPLATE,)

    latents: int = Field(4, ge=1, le=1000)
    steps: int = Field(100, ge=1)
    lr: float = Field(0.1, gt=0)
    average: int = Field(70, ge=1)
    weight_decay: float = Field(5e-4, ge=0)
    pool: int = Field(512, ge=1)  # random latents from which each template's starting points are chosen
    space: Space = "w+"
    flip: bool = False
    validation: bool = True

    def invert(self, context: InversionContext) -> InversionOutput:
        objective = template_objective(context)
        start = best_starts(context, draw(context, max(self.pool, self.latents)), self.latents)
        number = numbers(context, self.latents)

        def loss(latents: Tensor, rows: Tensor) -> Tensor:
            images = render(context, latents)
            losses = objective(images, number[rows])
            return (losses + objective(images.flip(-1), number[rows])) / 2 if self.flip else losses

        descent = Descent(self.steps, self.lr, weight_decay=self.weight_decay, drop=0.5, average=self.average)
        latents, trace = descent.run(widen(context, start, self.space), loss)
        losses = scores_of(context, latents, objective, number).view(context.count, self.latents)
        chosen, notes = losses.argmin(1), []
        if self.validation and self.latents > 2:
            try:
                chosen = self._agreed(context, latents)
            except NotApplicableError as error:
                notes.append(f"chosen by the attacked model itself: {error}")
        rows = torch.arange(context.count, device=context.device) * self.latents + chosen
        return InversionOutput(pictures(context, latents[rows]), trace, tuple(notes))

    def _agreed(self, context: InversionContext, latents: Tensor) -> Tensor:
        """Per template the latent whose image an unseen encoder puts nearest to the mean of all of them."""
        if context.surrogate is None:
            raise NotApplicableError("the attacker has no encoder of their own.")
        encoder = context.surrogate()
        with torch.no_grad():
            found = torch.cat([encoder(render(context, part)) for part in latents.split(BATCH)])
        unit = F.normalize(found).view(context.count, self.latents, -1)
        return F.cosine_similarity(unit, unit.mean(1, keepdim=True), dim=-1).argmax(1)
