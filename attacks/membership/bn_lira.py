"""BN-LiRA: a photo's distances to the BatchNorm statistics, judged against what shadow backbones say of the same photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import PrivateAttr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from attacks.shared.query_shadows import inside_of, scores_of
from attacks.shared.shadow_calibration import lira, worlds
from benchmark.interfaces import (
    Access,
    Contrast,
    Knowledge,
    MembershipAttack,
    QueryShadow,
    Reference,
    SignalRequest,
    Signals,
    Statistics,
)
from benchmark.signals.layers import NormDistance


class BNLira(MembershipAttack):
    """Per-photo calibration of the vector (d_1 .. d_L) of the BN distance (arXiv 2401.13719) in the manner of LiRA.

    How far a photo lies from the statistics says first of all what kind of photo it is.  With shadows of the query pool, each
    layer's distance is replaced by its residual against the shadows that did not train on the photo; every shadow in turn plays
    the target for the others, which gives a linear layer its labelled residuals.  With one shadow, or with auxiliary shadows
    (offline), a linear layer is fitted on the distances themselves and its output is calibrated.
    """

    name: ClassVar[str] = "bn_lira"
    title: ClassVar[str] = "BN-LiRA"
    summary: ClassVar[str] = "BN distance of a photo, calibrated by shadow backbones asked about the same photo."
    reference: ClassVar[Reference] = Reference(
        title="FaceVeil, after Membership Inference Attacks From First Principles", where="this project", arxiv="2112.03570"
    )
    access: ClassVar[Access] = Access.WEIGHTS
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY)

    knowledge: Literal[Knowledge.QUERY_POOL, Knowledge.AUXILIARY] = Knowledge.QUERY_POOL
    statistic: Literal["mean", "mean_var"] = "mean"
    statistics: Statistics = "stored"

    _linear: Pipeline | None = PrivateAttr(None)
    _shadows: Sequence[QueryShadow] = PrivateAttr(())

    @property
    def calibrates(self) -> bool:
        return True

    def requests(self) -> tuple[SignalRequest, ...]:
        return (NormDistance(statistic=self.statistic, reference=self.statistics),)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        """Fits the linear layer on auxiliary shadows' own people."""
        self._linear = linear(self._distances(signals), labels)

    def calibrate(self, shadows: Sequence[QueryShadow]) -> None:
        self._shadows = shadows

    def score(self, signals: Signals) -> np.ndarray:
        return self.calibrated(*self.scores(signals))

    def calibrated(self, target: np.ndarray, shadows: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """From scores (N,) of the target and (K, N) of the shadows; :class:`BNRmia` differs here."""
        return lira(target, shadows, inside)

    def scores(self, signals: Signals) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One number a photo: of the target (N,) and of each shadow (K, N), with ``inside`` (K, N)."""
        target = self._distances(signals)
        shadows = scores_of(self._shadows, ("log distances", self.requests()), self._distances)
        inside = inside_of(self._shadows)
        if self._linear is None and len(shadows) > 1:
            return residual_scores(target, shadows, inside)
        model = self._linear or linear(*known_rows(shadows, inside))
        return model.decision_function(target), decided(model, shadows), inside

    def _distances(self, signals: Signals) -> np.ndarray:
        return np.log(np.asarray(signals[self.requests()[0]], np.float64) + 1e-12)


def linear(features: np.ndarray, labels: np.ndarray) -> Pipeline:
    """A linear layer with a sigmoid, on scaled features."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))
    return model.fit(features, labels)


def known_rows(features: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, L) features and (n,) sides of what shadows (K, N, L) really say something of."""
    known = np.isfinite(features).all(2)
    return features[known], inside[known]


def decided(model: Pipeline, features: np.ndarray) -> np.ndarray:
    """(K, N) a linear layer's verdict on the shadows' features (K, N, L); NaN where they say nothing."""
    known = np.isfinite(features).all(2)
    verdict = np.full(known.shape, np.nan)
    verdict[known] = model.decision_function(features[known])
    return verdict


def residuals(values: np.ndarray, shadows: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(N, L) distances less what they are, layer by layer, for shadows that did not train on the photo, in deviations."""
    found = np.empty_like(values)
    for layer in range(values.shape[1]):
        w = worlds(shadows[:, :, layer], inside)
        found[:, layer] = (values[:, layer] - w.mean_out) / w.deviation_out
    return found


def residual_scores(target: np.ndarray, shadows: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A linear layer on residuals, learned from shadows that play the target for one another: scores of target and shadows."""
    played = []
    for number in range(len(shadows)):
        others = np.arange(len(shadows)) != number
        played.append(residuals(shadows[number], shadows[others], inside[others]))
    features = np.stack(played)
    model = linear(*known_rows(features, inside))
    return model.decision_function(residuals(target, shadows, inside)), decided(model, features), inside
