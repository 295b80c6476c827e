"""Random faces: what a generator draws without looking at the target at all."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from attacks.shared.latents import draw, pictures
from benchmark.interfaces import Access, Goal, InversionAttack, InversionContext, InversionOutput, Reference


class RandomLatents(InversionAttack):
    """Images of random latents.  Every attack that uses a generator must beat them."""

    name: ClassVar[str] = "random_latents"
    title: ClassVar[str] = "random faces"
    summary: ClassVar[str] = "Control: faces of random latents, made without the target."
    reference: ClassVar[Reference] = Reference(title="A control; no method")
    access: ClassVar[Access] = Access.SIMILARITY
    goals: ClassVar[tuple[Goal, ...]] = (Goal.TEMPLATE, Goal.TRAINING_IDENTITIES)
    control: ClassVar[bool] = True

    truncation: float = Field(1.0, gt=0, le=1)

    def invert(self, context: InversionContext) -> InversionOutput:
        return InversionOutput(pictures(context, draw(context, context.count, self.truncation)))
