"""View consistency: does the embedding of a trained photo move less when the photo is changed?"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PrivateAttr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.interfaces import Access, Contrast, Knowledge, MembershipAttack, Reference, SignalRequest, Signals

VIEWS = ("identity", "flip", "shift", "dim", "blur")
REQUESTS = tuple(SignalRequest(layers="embedding", view=view) for view in VIEWS)


class ViewConsistency(MembershipAttack):
    """A linear classifier on the cosines between the embeddings of fixed views of a photo."""

    name: ClassVar[str] = "view_consistency"
    summary: ClassVar[str] = "Agreement between the embeddings of mirrored, shifted, dimmed and blurred views of the photo."
    reference: ClassVar[Reference] = Reference(
        title="EncoderMI: Membership Inference against Pre-trained Encoders in Contrastive Learning",
        where="CCS 2021",
        arxiv="2108.11023",
    )
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY, Contrast.PAPER)

    knowledge: Literal[Knowledge.PARTIAL, Knowledge.AUXILIARY] = Knowledge.PARTIAL

    _classifier: Pipeline = PrivateAttr()

    def requests(self) -> tuple[SignalRequest, ...]:
        return REQUESTS

    def _features(self, signals: Signals) -> np.ndarray:
        views = [np.asarray(signals[r], np.float64) for r in REQUESTS]
        views = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in views]
        pairs = [(i, j) for i in range(len(views)) for j in range(i)]
        return np.stack([(views[i] * views[j]).sum(1) for i, j in pairs], axis=1)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        self._classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))
        self._classifier.fit(self._features(signals), labels)

    def score(self, signals: Signals) -> np.ndarray:
        return self._classifier.decision_function(self._features(signals))
