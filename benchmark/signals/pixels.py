"""The photo itself, as those see it who have no backbone at all."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from torch import Tensor

from benchmark.interfaces import Access, SignalRequest
from benchmark.signals.kind import Look, SignalKind
from benchmark.signals.views import thumbnails


class Pixels(SignalRequest):
    """A grey thumbnail of 16 x 16 with mean 0 and length 1, (N, 256)."""

    @property
    def access(self) -> Access:
        """Any."""
        return Access.SIMILARITY

    @property
    def key(self) -> str:
        """See :class:`SignalRequest`."""
        return f"pixels.value.{self.view}"


class PixelKind(SignalKind[Pixels]):
    """Nothing passes through the backbone."""

    serves = (Pixels,)
    reads_pass = False
    needs_floats = True

    def passes(self, request: Pixels) -> dict[Hashable, int]:
        """None."""
        return {}

    def measure(self, look: Look, requests: Sequence[Pixels]) -> dict[str, Tensor]:
        """See :class:`SignalKind`."""
        return {request.key: thumbnails(look.images) for request in requests}
