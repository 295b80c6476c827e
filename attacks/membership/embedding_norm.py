"""Embedding norm: is the length of an embedding typical of trained photos?"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr
from scipy.stats import norm as gaussian

from attacks.shared.statistics import EMBEDDING, embedding_norm
from benchmark.interfaces import Access, Contrast, Knowledge, MembershipAttack, Reference, SignalRequest, Signals


class EmbeddingNorm(MembershipAttack):
    """Likelihood ratio of the embedding's p-norm, a Gaussian fitted to each class."""

    name: ClassVar[str] = "embedding_norm"
    title: ClassVar[str] = "embedding length"
    summary: ClassVar[str] = "Likelihood ratio of the length (p-norm) of the embedding."
    reference: ClassVar[Reference] = Reference(title="LpLA: likelihood of the p-norm of a feature vector", where="AsiaCCS 2025")
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY, Contrast.PAPER)

    knowledge: Literal[Knowledge.PARTIAL, Knowledge.AUXILIARY] = Knowledge.PARTIAL
    p: float = Field(2.0, gt=0)

    _moments: tuple[tuple[float, float], tuple[float, float]] = PrivateAttr()

    def requests(self) -> tuple[SignalRequest, ...]:
        return (EMBEDDING,)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        """Fits a Gaussian to each class.

        Raises:
            NotApplicableError: every embedding has the same length (the system normalises them).
        """
        norms = embedding_norm(signals, self.p)
        positive, negative = norms[labels == 1], norms[labels == 0]
        self._moments = (_mean_sd(negative), _mean_sd(positive))

    def score(self, signals: Signals) -> np.ndarray:
        norms = embedding_norm(signals, self.p)
        negative, positive = self._moments
        result: np.ndarray = gaussian.logpdf(norms, *positive) - gaussian.logpdf(norms, *negative)
        return result


def _mean_sd(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(max(values.std(), 1e-12))
