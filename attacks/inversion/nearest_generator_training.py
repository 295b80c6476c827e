"""The nearest face of those that the generator was trained on: what a generator that only remembers would give."""

from __future__ import annotations

from typing import ClassVar

from attacks.shared.nearest import NearestPhoto
from benchmark.interfaces import InversionContext, NotApplicableError, Photos


class NearestGeneratorTraining(NearestPhoto):
    """The generator's training photo nearest to the template by embedding; for goal B, photos of random such people."""

    name: ClassVar[str] = "nearest_generator_training"
    title: ClassVar[str] = "nearest face of the generator's training"
    summary: ClassVar[str] = "Control: the generator's training photo nearest to the template."

    def collection(self, context: InversionContext) -> Photos:
        if context.generator_training is None:
            raise NotApplicableError("there is no generator, or it is unknown which faces it was trained on.")
        return context.generator_training
