"""MIRROR in its headless form: latents kept where the generator's own latents lie."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from attacks.shared.latents import Descent, PSpace, draw, from_p, numbers, pictures, render, to_p
from attacks.shared.objectives import best_starts, objective_for, scores_of, similarity
from benchmark.interfaces import (
    Access,
    AttackSpec,
    Goal,
    InversionAttack,
    InversionContext,
    InversionOutput,
    Reference,
)


class Mirror(InversionAttack):
    """Descent in W with P-space clipping to ``radius`` standard deviations; or, black-box, a genetic search.

    P space is W before the mapping network's last LeakyReLU (slope 5 backwards).  ``search="genetic"`` sees similarity scores
    alone: elites are kept, the others cross two of the better half and mutate in P space; ``population`` times
    ``generations`` is its query budget for each template.  ``head`` restores a class loss: a reference, not headless.
    """

    name: ClassVar[str] = "mirror"
    title: ClassVar[str] = "MIRROR"
    summary: ClassVar[str] = "Latent search clipped to the generator's P space; a black-box genetic variant."
    reference: ClassVar[Reference] = Reference(
        title="MIRROR: Model Inversion for Deep Learning Network with High Fidelity", where="NDSS 2022"
    )
    access: ClassVar[Access] = Access.WEIGHTS
    goals: ClassVar[tuple[Goal, ...]] = (Goal.TEMPLATE, Goal.TRAINING_IDENTITIES)

    search: Literal["gradient", "genetic"] = "gradient"
    radius: float = Field(1.0, gt=0)
    latents: int = Field(2, ge=1)
    pool: int = Field(512, ge=1)
    steps: int = Field(100, ge=1)
    lr: float = Field(0.1, gt=0)
    population: int = Field(50, ge=4)
    generations: int = Field(20, ge=1)
    mutation: float = Field(0.3, gt=0)  # standard deviations of P space
    guide: AttackSpec = AttackSpec(name="bn_distance")
    head: bool = False

    def required_access(self) -> Access:
        if self.search == "genetic":
            return Access.SIMILARITY
        return Access.HEAD if self.head else Access.WEIGHTS

    def invert(self, context: InversionContext) -> InversionOutput:
        if self.search == "genetic":
            return self._genetic(context)
        objective = objective_for(context, self.guide, self.head)
        gaussian, number = PSpace.of(context), numbers(context, self.latents)
        if context.goal == Goal.TEMPLATE and not self.head:
            start = best_starts(context, draw(context, max(self.pool, self.latents)), self.latents)
        else:
            start = draw(context, len(number))
        descent = Descent(self.steps, self.lr, drop=0.5, clip=lambda latents: gaussian.clip(latents, self.radius))
        latents, trace = descent.run(start, lambda latents, rows: objective(render(context, latents), number[rows]))
        losses = scores_of(context, latents, objective, number).view(context.count, self.latents)
        rows = torch.arange(context.count, device=context.device) * self.latents + losses.argmin(1)
        return InversionOutput(pictures(context, latents[rows]), trace)

    def _genetic(self, context: InversionContext) -> InversionOutput:
        """One population (count, population, w_dim) in P space for each template, all advanced together."""
        gaussian, size = PSpace.of(context), self.population
        people = to_p(draw(context, context.count * size))[:, 0].view(context.count, size, -1)
        number, trace = numbers(context, size), []
        keep, better = max(1, size // 10), max(2, size // 2)
        rows = torch.arange(context.count, device=context.device)[:, None]
        for generation in range(self.generations):
            scores = similarity(context, from_p(people).flatten(0, 1)[:, None], number).view(context.count, size)
            order = scores.argsort(1, descending=True)
            trace.append(1 - scores.max(1).values.mean().item())
            people = people[rows, order]
            if generation + 1 < self.generations:
                children = size - keep
                first, second = (
                    people[rows, torch.randint(better, (context.count, children)).to(people.device)] for _ in range(2)
                )
                mixed = torch.where(torch.rand(first.shape).to(people.device) < 0.5, first, second)
                mixed = mixed + self.mutation * gaussian.std * torch.randn(mixed.shape).to(people.device)
                people = torch.cat([people[:, :keep], mixed], dim=1)
        return InversionOutput(pictures(context, gaussian.clip(from_p(people[:, :1]), 3.0)), trace)
