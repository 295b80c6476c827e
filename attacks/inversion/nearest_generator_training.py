"""The nearest face of those that the generator was trained on: what a generator that only remembers would give."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from attacks.nearest import nearest_photos
from benchmark.interfaces import (
    Access,
    Goal,
    Inversion,
    InversionAttack,
    InversionContext,
    NotApplicableError,
    Reference,
)


class NearestGeneratorTraining(InversionAttack):
    """The generator's training photo nearest to the template by embedding; for goal B, photos of random such people."""

    name: ClassVar[str] = "nearest_generator_training"
    summary: ClassVar[str] = "Control: the generator's training photo nearest to the template."
    reference: ClassVar[Reference] = Reference(title="A control; no method")
    access: ClassVar[Access] = Access.EMBEDDING
    goals: ClassVar[tuple[Goal, ...]] = (Goal.TEMPLATE, Goal.TRAINING_IDENTITIES)
    control: ClassVar[bool] = True

    photos: int = Field(2000, ge=1)  # looked through, at most, for each chunk of templates

    def invert(self, context: InversionContext) -> Inversion:
        if context.generator_training is None:
            raise NotApplicableError("there is no generator, or it is not known which faces it was trained on.")
        return nearest_photos(context, context.generator_training, self.photos)
