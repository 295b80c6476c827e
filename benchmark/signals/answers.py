"""What the deployed system answers: embeddings, and their directions for attackers who see similarities alone."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from benchmark.interfaces import Access, SignalRequest, Statistics
from benchmark.signals.channel_moments import normalisation_layers
from benchmark.signals.kind import Look, SignalKind
from benchmark.signals.target import HeadClasses, Target


class Embedding(SignalRequest):
    """The embedding of ``view``, (N, D): what the deployed system returns, the mean of ``queries`` answers.

    With ``raw`` it is the one before the card's inference transform; with another ``reference`` than ``stored`` that of the
    backbone whose BatchNorm statistics the attacker has estimated again on public photos.  Both need the weights.
    """

    follows_architecture: ClassVar[bool] = False  # attacks compare embeddings within a model

    raw: bool = False
    reference: Statistics = "stored"
    queries: int = Field(1, ge=1)

    @property
    def access(self) -> Access:
        """That to the deployed system, or to the weights."""
        return Access.WEIGHTS if self.raw or self.recalibrates else Access.EMBEDDING

    @property
    def key(self) -> str:
        """See :class:`SignalRequest`."""
        recalibrated = f"{self.reference}." if self.recalibrates else ""
        repeated = "" if self.queries == 1 else f".x{self.queries}"
        return f"{'raw_' if self.raw else ''}embedding.{recalibrated}{self.view}{repeated}"

    @property
    def recalibrates(self) -> bool:
        """See :class:`SignalRequest`."""
        return self.reference != "stored"


class Similarity(SignalRequest):
    """Answers that are read as cosines of pairs only, by :meth:`Signals.cosines`."""

    pairs_only: ClassVar[bool] = True
    follows_architecture: ClassVar[bool] = False

    @property
    def access(self) -> Access:
        """That to similarity scores."""
        return Access.SIMILARITY

    @property
    def key(self) -> str:
        """See :class:`SignalRequest`."""
        return f"similarity.value.{self.view}"


class AnswerKind(SignalKind[Embedding | Similarity]):
    """Both in one kind, because their answers may draw noise, in the order of the requests."""

    serves = (Embedding, Similarity)

    def check(self, target: Target, request: Embedding | Similarity, head: HeadClasses | None) -> None:
        """Statistics can be estimated again only where there are any."""
        if isinstance(request, Embedding) and request.recalibrates:
            normalisation_layers(target.backbone, request.reference)

    def passes(self, request: Embedding | Similarity) -> dict[Hashable, int]:
        """A pass, and one more for each repeated query."""
        return {("view", request.view): 1, ("repeated", request.view): _queries(request) - 1}

    def measure(self, look: Look, requests: Sequence[Embedding | Similarity]) -> dict[str, Tensor]:
        """See :class:`SignalKind`."""
        found = {}
        for request in requests:
            raw = isinstance(request, Embedding) and request.raw
            answer = look.raw if raw else _answer(look.target, look.raw, _queries(request))
            found[request.key] = F.normalize(answer) if request.pairs_only else answer
        return found


def _queries(request: Embedding | Similarity) -> int:
    return request.queries if isinstance(request, Embedding) else 1


def _answer(target: Target, raw: Tensor, queries: int) -> Tensor:
    """What the deployed system returns, averaged over repeated queries of the same image (its transform may draw noise)."""
    total = target.transform(raw)
    for _ in range(queries - 1):
        total = total + target.transform(raw)
    return total / queries
