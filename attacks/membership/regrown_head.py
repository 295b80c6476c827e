"""Regrown head: the classification layer that was dropped, grown again from embeddings of the people in question."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.special import logsumexp

from benchmark.interfaces import (
    Access,
    Contrast,
    Knowledge,
    MembershipAttack,
    NotApplicableError,
    Reference,
    SignalRequest,
    Signals,
)

BLOCK = 1024


class RegrownHead(MembershipAttack):
    """The log-posterior of a photo's person under a head regrown from the other photos.

    The centre c_p of a person is the normalised mean of the embeddings of that person's *other* photos; the score is
    s cos(f(x), c_p) - logsumexp_q s cos(f(x), c_q), the logarithm of the softmax that training maximised.  The attacker
    knows which photos show the same person, not which were trained on, and needs neither labels nor shadow models.
    With ``statistics="auxiliary"`` it first repairs BatchNorm statistics that a defence has perturbed, on public faces.
    """

    name: ClassVar[str] = "regrown_head"
    summary: ClassVar[str] = "Regrows the dropped classification layer from embeddings and reads the training loss off it."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY, Contrast.PAPER)
    needs_gallery: ClassVar[bool] = True

    knowledge: Literal[Knowledge.NONE] = Knowledge.NONE
    scale: float = Field(32.0, gt=0)
    statistics: Literal["stored", "auxiliary"] = "stored"

    def required_access(self) -> Access:
        """Estimating the statistics again takes the weights."""
        return Access.EMBEDDING if self.statistics == "stored" else Access.WEIGHTS

    def requests(self) -> tuple[SignalRequest, ...]:
        return (SignalRequest(layers="embedding", reference=self.statistics),)

    def score(self, signals: Signals) -> np.ndarray:
        """(N,) log-posteriors.

        Raises:
            NotApplicableError: a person has one photo only, so that nothing is left to grow a centre from.
        """
        people, person, count = np.unique(signals.identity, return_inverse=True, return_counts=True)
        if (count < 2).any():
            raise NotApplicableError(
                f"{int((count < 2).sum())} of {len(people)} people have one photo only; "
                "a regrown head needs two or more a person."
            )
        embeddings = unit(np.asarray(signals[self.requests()[0]], np.float64))
        sums = np.zeros((len(people), embeddings.shape[1]))
        np.add.at(sums, person, embeddings)
        centres = unit(sums)
        own = (embeddings * unit(sums[person] - embeddings)).sum(1)
        scores = np.empty(len(embeddings))
        for start in range(0, len(embeddings), BLOCK):
            block = slice(start, start + BLOCK)
            logits = embeddings[block] @ centres.T
            logits[np.arange(len(logits)), person[block]] = own[block]
            scores[block] = self.scale * own[block] - logsumexp(self.scale * logits, axis=1)
        return scores


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; zero rows stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
