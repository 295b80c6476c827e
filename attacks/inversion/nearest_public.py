"""The nearest public face: what looking through a photo collection gives."""

from __future__ import annotations

from typing import ClassVar

from attacks.shared.nearest import NearestPhoto
from benchmark.interfaces import InversionContext, Photos


class NearestPublic(NearestPhoto):
    """The public photo whose embedding is nearest to the template; for goal B, photos of random public people."""

    name: ClassVar[str] = "nearest_public"
    title: ClassVar[str] = "nearest public face"
    summary: ClassVar[str] = "Control: the public photo nearest to the template."

    def collection(self, context: InversionContext) -> Photos:
        return context.public
