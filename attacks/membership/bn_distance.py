"""BN distance: the attack of the founding paper, on distances between features and normalisation statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import PrivateAttr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.interfaces import Access, Contrast, Knowledge, MembershipAttack, Reference, SignalRequest, Signals, Statistics
from benchmark.signals.layers import NormDistance

if TYPE_CHECKING:
    from torch import Tensor


class BNDistance(MembershipAttack):
    """A linear layer with a sigmoid on (d_1 .. d_L), d_i = (1/b_i) ||v̄_i - u_i||^2.

    v̄_i is the spatial mean of the feature before the i-th BatchNorm and u_i its running mean.  ``statistic="mean_var"``
    is our extension to a diagonal Mahalanobis distance of mean and variance.  ``statistics`` says where u_i comes from:
    ``stored`` in the model (the paper), or estimated on public faces where the stored ones are hidden or perturbed
    (``auxiliary``) or do not exist (``feature_means``), or on known members (``partial``); ``repaired`` also puts those of
    public faces back, before the features are computed.
    Distances enter by their logarithm: they are positive with a long tail, and layers differ in scale.
    """

    name: ClassVar[str] = "bn_distance"
    title: ClassVar[str] = "BN distance"
    summary: ClassVar[str] = "Distance between a photo's features and the BatchNorm statistics, layer by layer."
    reference: ClassVar[Reference] = Reference(
        title="Inference Attacks Against Face Recognition Model without Classification Layers",
        where="2024",
        arxiv="2401.13719",
        equation="d_i",
    )
    access: ClassVar[Access] = Access.WEIGHTS
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY, Contrast.PAPER)

    knowledge: Literal[Knowledge.PARTIAL, Knowledge.AUXILIARY] = Knowledge.PARTIAL
    statistic: Literal["mean", "mean_var"] = "mean"
    statistics: Statistics = "stored"

    _classifier: Pipeline = PrivateAttr()

    def requests(self) -> tuple[SignalRequest, ...]:
        return (NormDistance(statistic=self.statistic, reference=self.statistics),)

    def _features(self, signals: Signals) -> np.ndarray:
        return np.log(np.asarray(signals[self.requests()[0]], np.float64) + 1e-12)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        self._classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))
        self._classifier.fit(self._features(signals), labels)

    def score(self, signals: Signals) -> np.ndarray:
        result: np.ndarray = self._classifier.decision_function(self._features(signals))
        return result

    def differentiable_score(self, signals: Mapping[str, Tensor]) -> Tensor:
        scaler, linear = self._classifier[0], self._classifier[-1]
        logs = (signals[self.requests()[0].key] + 1e-12).log()
        weight = logs.new_tensor(linear.coef_[0] / scaler.scale_)
        return (logs - logs.new_tensor(scaler.mean_)) @ weight + float(linear.intercept_[0])
