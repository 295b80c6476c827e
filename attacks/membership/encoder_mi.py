"""EncoderMI: do the embeddings of random views of a trained photo agree more?"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.interfaces import Access, Contrast, Knowledge, MembershipAttack, Reference, SignalRequest, Signals


class EncoderMI(MembershipAttack):
    """Cosines between the embeddings of ``views`` views of a photo, the photo as it is among them.

    ``vector``: all of them, sorted, into a linear classifier; ``set``: their mean, spread, extremes and quartiles, which do not
    depend on the number of views; ``threshold``: their mean.  The published attack takes random views alone, because its
    encoders were trained on those; a face backbone was trained on the photo itself.  Which side of the threshold is a
    member's is learned, too: photos that were fitted hard may agree less with their views.
    """

    name: ClassVar[str] = "encoder_mi"
    summary: ClassVar[str] = "Agreement between the embeddings of random crops, mirrorings and colours of the photo."
    reference: ClassVar[Reference] = Reference(
        title="EncoderMI: Membership Inference against Pre-trained Encoders in Contrastive Learning",
        where="CCS 2021",
        arxiv="2108.11023",
    )
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY, Contrast.PAPER)

    knowledge: Literal[Knowledge.PARTIAL, Knowledge.AUXILIARY] = Knowledge.PARTIAL
    variant: Literal["vector", "set", "threshold"] = "vector"
    views: int = Field(10, ge=2)

    _classifier: Pipeline = PrivateAttr()

    def requests(self) -> tuple[SignalRequest, ...]:
        names = ["identity", *(f"augment-{n}" for n in range(self.views - 1))]
        return tuple(SignalRequest(layers="embedding", view=name) for name in names)

    def _cosines(self, signals: Signals) -> np.ndarray:
        """(N, views (views - 1) / 2), each photo's in rising order."""
        views = [np.asarray(signals[r], np.float64) for r in self.requests()]
        views = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in views]
        return np.sort(np.stack([(views[i] * views[j]).sum(1) for i in range(len(views)) for j in range(i)], axis=1), axis=1)

    def _features(self, signals: Signals) -> np.ndarray:
        cosines = self._cosines(signals)
        if self.variant == "vector":
            return cosines
        if self.variant == "threshold":
            return cosines.mean(1, keepdims=True)
        quartiles = np.quantile(cosines, (0.0, 0.25, 0.5, 0.75, 1.0), axis=1).T
        return np.column_stack([cosines.mean(1), cosines.std(1), quartiles])

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        self._classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        self._classifier.fit(self._features(signals), labels)

    def score(self, signals: Signals) -> np.ndarray:
        return self._classifier.decision_function(self._features(signals))
