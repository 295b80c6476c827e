"""EncoderMI: do the embeddings of random views of a trained photo agree more?"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.interfaces import Access, Contrast, Knowledge, MembershipAttack, Reference, SignalRequest, Signals
from benchmark.signals.answers import Embedding

VIEWS = ("identity", "flip", "shift", "dim", "blur", "bright", "contrast", "grey", "zoom", "grain")


class EncoderMI(MembershipAttack):
    """Cosines between the embeddings of the photo and of changed views of it, all pairs.

    ``vector``: all of them, sorted, into a linear classifier; ``set``: their mean, spread, extremes and quartiles;
    ``threshold``: their mean.  The published attack draws ten random views (``augment-0`` .. ``augment-9``), because its
    encoders were trained on those.  A face backbone was trained on the photo as it is, and random views, whose strength
    varies from photo to photo, hide what is left; the default are ten fixed ones.  Which side of the threshold is a member's
    is learned, too: photos that were fitted hard may agree less with their views.
    """

    name: ClassVar[str] = "encoder_mi"
    title: ClassVar[str] = "EncoderMI"
    summary: ClassVar[str] = "Agreement between the embeddings of mirrored, shifted, blurred and recoloured views of the photo."
    reference: ClassVar[Reference] = Reference(
        title="EncoderMI: Membership Inference against Pre-trained Encoders in Contrastive Learning",
        where="CCS 2021",
        arxiv="2108.11023",
    )
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY, Contrast.PAPER)

    knowledge: Literal[Knowledge.PARTIAL, Knowledge.AUXILIARY] = Knowledge.PARTIAL
    variant: Literal["vector", "set", "threshold"] = "vector"
    views: tuple[str, ...] = Field(VIEWS, min_length=2, max_length=20)

    _classifier: Pipeline = PrivateAttr()

    def requests(self) -> tuple[SignalRequest, ...]:
        return tuple(Embedding(view=name) for name in dict.fromkeys(self.views))

    def _cosines(self, signals: Signals) -> np.ndarray:
        """(N, pairs of views), each photo's in rising order."""
        views = [np.asarray(signals[r], np.float64) for r in self.requests()]
        views = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in views]
        return np.sort(np.stack([(views[i] * views[j]).sum(1) for i in range(len(views)) for j in range(i)], axis=1), axis=1)

    def _features(self, signals: Signals) -> np.ndarray:
        cosines = self._cosines(signals)
        if self.variant == "vector":
            return cosines
        if self.variant == "threshold":
            result: np.ndarray = cosines.mean(1, keepdims=True)
            return result
        quartiles = np.quantile(cosines, (0.0, 0.25, 0.5, 0.75, 1.0), axis=1).T
        return np.column_stack([cosines.mean(1), cosines.std(1), quartiles])

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        self._classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        self._classifier.fit(self._features(signals), labels)

    def score(self, signals: Signals) -> np.ndarray:
        result: np.ndarray = self._classifier.decision_function(self._features(signals))
        return result
