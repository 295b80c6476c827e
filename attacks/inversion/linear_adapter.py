"""Linear adapter: leaked templates are carried into an encoder of the attacker's own, and rebuilt there."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.shared.latents import BATCH, Descent, Space, draw, numbers, pictures, render, widen
from attacks.shared.linear_map import LinearMap
from benchmark.interfaces import (
    Access,
    Goal,
    ImageFunction,
    InversionAttack,
    InversionContext,
    InversionOutput,
    NotApplicableError,
    Reference,
)


class LinearAdapter(InversionAttack):
    """W = argmin |f_victim W - f_own|^2 over ``photos`` public photos, then descent towards the mapped templates.

    It takes neither weights nor gradients of the attacked system, only what it answers to a few public photos: face backbones
    differ by little more than a linear map.  A transform of the embedding that is nearly linear is learned with it.
    """

    name: ClassVar[str] = "linear_adapter"
    title: ClassVar[str] = "linear adapter"
    summary: ClassVar[str] = "Maps leaked templates linearly to a public encoder, from a few photos, and rebuilds them there."
    reference: ClassVar[Reference] = Reference(
        title="Linear maps between the embeddings of face recognition networks, used for template inversion",
        where="this project",
    )
    access: ClassVar[Access] = Access.EMBEDDING
    goals: ClassVar[tuple[Goal, ...]] = (Goal.TEMPLATE,)

    photos: int = Field(200, ge=2)
    latents: int = Field(2, ge=1, le=1000)
    steps: int = Field(100, ge=1)
    lr: float = Field(0.1, gt=0)
    average: int = Field(20, ge=1)
    weight_decay: float = Field(5e-4, ge=0)
    pool: int = Field(512, ge=1)
    space: Space = "w+"

    def invert(self, context: InversionContext) -> InversionOutput:
        if context.templates is None:
            raise NotApplicableError(
                "no template leaked: this needs the goal `template` and embeddings that the system returns."
            )
        if context.surrogate is None:
            raise NotApplicableError("the attacker has no encoder of their own to map templates to.")
        encoder = context.surrogate()
        adapter, used = self._adapter(context, encoder)
        wanted = adapter(context.templates)
        pool = draw(context, max(self.pool, self.latents))
        with torch.no_grad():
            drawn = torch.cat([F.normalize(encoder(render(context, part))) for part in pool.split(BATCH)])
        start = pool[(wanted @ drawn.T).topk(self.latents, dim=1).indices.flatten()]
        number = numbers(context, self.latents)

        def loss(latents: Tensor, rows: Tensor) -> Tensor:
            return 1 - F.cosine_similarity(encoder(render(context, latents)), wanted[number[rows]])

        descent = Descent(self.steps, self.lr, weight_decay=self.weight_decay, drop=0.5, average=self.average)
        latents, trace = descent.run(widen(context, start, self.space), loss)
        with torch.no_grad():
            parts = torch.arange(len(latents), device=context.device).split(BATCH)
            losses = torch.cat([loss(latents[rows], rows) for rows in parts]).view(context.count, self.latents)
        rows = torch.arange(context.count, device=context.device) * self.latents + losses.argmin(1)
        note = f"mapped by {used} public photos, ridge {adapter.ridge:g}"
        return InversionOutput(pictures(context, latents[rows]), trace, (note,))

    def _adapter(self, context: InversionContext, encoder: ImageFunction) -> tuple[LinearMap, int]:
        """The map, from what both say of photos that the attacker holds."""
        held = len(context.public)
        if held < 2:
            raise NotApplicableError("the attacker holds no public photos to learn the map from.")
        chosen = np.sort(np.random.default_rng([context.seed, 401]).permutation(held)[: self.photos])
        victim, own = [], []
        with torch.no_grad():
            for start in range(0, len(chosen), BATCH):
                images = context.public.load(chosen[start : start + BATCH]).to(context.device).float() / 255
                victim.append(context.target.embed(images))
                own.append(encoder(images))
        return LinearMap.fitted(torch.cat(victim), torch.cat(own)), len(chosen)
