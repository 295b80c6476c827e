"""Gradient norm: does a trained photo pull less at the weights, or at itself?"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.interfaces import Access, Contrast, Knowledge, MembershipAttack, Reference, SignalRequest, Signals
from benchmark.signals.gradient_norms import AgreementGradient


class GradientNorm(MembershipAttack):
    """A linear classifier on the logarithms of gradient norms of 1 - cos(f(x), f(view(x))), over ``views``.

    Without a head there is no loss of a class to take the gradient of; agreement with a view of itself is what remains, and
    a blurred view tells more than mirrored, dimmed or random ones (measured).  ``of`` says with respect to what: the photo
    (``input``), all weights (``weights``), or both.
    """

    name: ClassVar[str] = "gradient_norm"
    title: ClassVar[str] = "gradient norm"
    summary: ClassVar[str] = "Norm of the gradient of the photo's agreement with a blurred view of itself."
    reference: ClassVar[Reference] = Reference(
        title="Comprehensive Privacy Analysis of Deep Learning (gradient norms), carried to embeddings",
        where="IEEE S&P 2019",
        arxiv="1812.00910",
    )
    access: ClassVar[Access] = Access.WEIGHTS
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY, Contrast.PAPER)

    knowledge: Literal[Knowledge.PARTIAL, Knowledge.AUXILIARY] = Knowledge.PARTIAL
    of: Literal["input", "weights", "both"] = "both"
    views: tuple[str, ...] = Field(("blur",), min_length=1, max_length=8)

    _classifier: Pipeline = PrivateAttr()

    def requests(self) -> tuple[SignalRequest, ...]:
        kinds: tuple[Literal["input", "weights"], ...] = ("input", "weights") if self.of == "both" else (self.of,)
        return tuple(AgreementGradient(of=kind, view=view) for view in dict.fromkeys(self.views) for kind in kinds)

    def _features(self, signals: Signals) -> np.ndarray:
        return np.log(np.concatenate([np.asarray(signals[r], np.float64) for r in self.requests()], axis=1) + 1e-12)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        self._classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))
        self._classifier.fit(self._features(signals), labels)

    def score(self, signals: Signals) -> np.ndarray:
        result: np.ndarray = self._classifier.decision_function(self._features(signals))
        return result
