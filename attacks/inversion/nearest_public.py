"""The nearest public face: what looking through a photo collection gives."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from attacks.nearest import nearest_photos
from benchmark.interfaces import Access, Goal, Inversion, InversionAttack, InversionContext, Reference


class NearestPublic(InversionAttack):
    """The public photo whose embedding is nearest to the template; for goal B, photos of random public people."""

    name: ClassVar[str] = "nearest_public"
    summary: ClassVar[str] = "Control: the public photo nearest to the template."
    reference: ClassVar[Reference] = Reference(title="A control; no method")
    access: ClassVar[Access] = Access.EMBEDDING
    goals: ClassVar[tuple[Goal, ...]] = (Goal.TEMPLATE, Goal.TRAINING_IDENTITIES)
    control: ClassVar[bool] = True

    photos: int = Field(2000, ge=1)  # looked through, at most, for each chunk of templates

    def invert(self, context: InversionContext) -> Inversion:
        return nearest_photos(context, context.public, self.photos)
