"""What the deployed system answers: embeddings, and their directions for attackers who see similarities alone."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch.nn.functional as F
from torch import Tensor

from benchmark.interfaces import SignalRequest
from benchmark.signals.channel_moments import normalisation_layers
from benchmark.signals.head import HeadClasses
from benchmark.signals.kind import Look, SignalKind
from benchmark.signals.target import Target


class AnswerKind(SignalKind):
    """``embedding`` and ``similarity``; one kind, because their answers may draw noise, in the order of the requests."""

    def check(self, target: Target, request: SignalRequest, head: HeadClasses | None) -> None:
        """Statistics can be estimated again only where there are any."""
        if request.layers == "embedding" and request.reference != "stored":
            normalisation_layers(target.backbone, request.reference)

    def passes(self, request: SignalRequest) -> dict[Hashable, int]:
        """A pass, and one more for each repeated query."""
        return {("view", request.view): 1, ("repeated", request.view): request.queries - 1}

    def measure(self, look: Look, requests: Sequence[SignalRequest]) -> dict[str, Tensor]:
        """See :class:`SignalKind`."""
        found = {}
        for request in requests:
            answer = look.raw if request.raw else _answer(look.target, look.raw, request.queries)
            found[request.key] = F.normalize(answer) if request.layers == "similarity" else answer
        return found


def _answer(target: Target, raw: Tensor, queries: int) -> Tensor:
    """What the deployed system returns, averaged over repeated queries of the same image (its transform may draw noise)."""
    total = target.transform(raw)
    for _ in range(queries - 1):
        total = total + target.transform(raw)
    return total / queries
