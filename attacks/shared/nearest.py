"""Controls that return existing photos: the nearest to a template, or, without one, any."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.shared.latents import BATCH, fitted
from benchmark.interfaces import Access, Goal, InversionAttack, InversionContext, InversionOutput, Photos, Reference


class NearestPhoto(InversionAttack):
    """A control that makes nothing: of some collection the photo nearest to each template, or photos of different people."""

    reference: ClassVar[Reference] = Reference(title="A control; no method")
    access: ClassVar[Access] = Access.EMBEDDING
    goals: ClassVar[tuple[Goal, ...]] = (Goal.TEMPLATE, Goal.TRAINING_IDENTITIES)
    control: ClassVar[bool] = True

    photos: int = Field(2000, ge=1)  # looked through, at most, for each chunk of templates

    @abstractmethod
    def collection(self, context: InversionContext) -> Photos:
        """The photos that are looked through.

        Raises:
            NotApplicableError: there are none.
        """

    def invert(self, context: InversionContext) -> InversionOutput:
        return nearest_photos(context, self.collection(context), self.photos)


def nearest_photos(context: InversionContext, photos: Photos, most: int) -> InversionOutput:
    """For each template the photo, of up to ``most``, whose embedding is nearest; for goal B photos of different people."""
    identity = np.asarray(photos.identity)
    if context.goal == Goal.TRAINING_IDENTITIES:
        order = torch.randperm(len(identity)).numpy()
        _, first = np.unique(identity[order], return_index=True)
        firsts = np.sort(order[first])
        chosen = firsts[torch.randperm(len(firsts)).numpy()]
        return InversionOutput(load(context, photos, np.resize(chosen, context.count)))
    assert context.templates is not None
    index = torch.randperm(len(identity)).numpy()[:most]
    with torch.no_grad():
        parts = [context.target.embed(load(context, photos, part)) for part in np.array_split(index, -(-len(index) // BATCH))]
        best = (F.normalize(context.templates) @ F.normalize(torch.cat(parts)).T).argmax(1)
    return InversionOutput(load(context, photos, index[best.cpu().numpy()]))


def load(context: InversionContext, photos: Photos, index: np.ndarray) -> Tensor:
    """Photos as float images (B, 3, S, S) in [0, 1]."""
    return fitted(photos.load(index).to(context.device).float().div(255), context.image_size)
