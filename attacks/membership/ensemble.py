"""Ensemble: the signals that a backbone without its head gives, stacked under one classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import PrivateAttr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from attacks.membership.calibration import lira
from attacks.membership.centres import gallery, unit
from attacks.membership.regrown_head import RegrownHead
from attacks.membership.statistics import EMBEDDING, compactness
from benchmark.interfaces import (
    Access,
    Contrast,
    Knowledge,
    MembershipAttack,
    QueryShadow,
    Reference,
    SignalRequest,
    Signals,
)

# Means of the features themselves: they exist whatever the normalisation.
DISTANCES = SignalRequest(layers="norm", statistic="mean_var", reference="feature_means")
VIEWS = tuple(SignalRequest(layers="embedding", view=view) for view in ("flip", "shift", "dim", "blur"))
GALLERIES = ("mean", "weighted", "joint")


class Ensemble(MembershipAttack):
    """A linear classifier on all scores and distances of a photo together.

    The columns are the regrown head's log-odds (three galleries), the embedding's norm, the person's compactness, the cosines
    between views of the photo, and the distance of every normalisation layer's input to its mean on public faces.  With
    ``partial`` knowledge it learns from a labelled share of the people.  With ``query_pool`` each shadow plays the target in
    turn, and every one-number column stands there a second time, calibrated by the other shadows.
    """

    name: ClassVar[str] = "ensemble"
    summary: ClassVar[str] = "Headless signals of a photo stacked under one linear classifier."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    access: ClassVar[Access] = Access.WEIGHTS
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY)
    needs_gallery: ClassVar[bool] = True

    knowledge: Literal[Knowledge.PARTIAL, Knowledge.QUERY_POOL] = Knowledge.PARTIAL

    _classifier: Pipeline = PrivateAttr()
    _shadows: Sequence[QueryShadow] = PrivateAttr(())

    def requests(self) -> tuple[SignalRequest, ...]:
        return (EMBEDDING, DISTANCES, *VIEWS)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        self._classifier = stack(np.hstack(columns(signals)), labels)

    def calibrate(self, shadows: Sequence[QueryShadow]) -> None:
        self._shadows = shadows

    def score(self, signals: Signals) -> np.ndarray:
        if not self._shadows:
            return self._classifier.decision_function(np.hstack(columns(signals)))
        inside = np.stack([s.inside for s in self._shadows])
        of_shadows = [columns(s.signals) for s in self._shadows]
        features = [
            _with_calibrated(own, [c for j, c in enumerate(of_shadows) if j != k], np.delete(inside, k, axis=0))
            for k, own in enumerate(of_shadows)
        ]
        classifier = stack(np.vstack(features), inside.ravel())
        # A shadow that plays the target is calibrated by one shadow fewer; so is the target, for the same scale.
        return classifier.decision_function(_with_calibrated(columns(signals), of_shadows[1:], inside[1:]))


def columns(signals: Signals) -> tuple[np.ndarray, np.ndarray]:
    """One-number statistics (N, S), and the further columns (N, F) that are used as they are."""
    embeddings, _ = gallery(signals, EMBEDDING)
    logits = [RegrownHead(gallery=g).score(signals) for g in GALLERIES]
    norms = np.log(np.linalg.norm(np.asarray(signals[EMBEDDING], np.float64), axis=1) + 1e-12)
    distances = np.log(np.asarray(signals[DISTANCES], np.float64) + 1e-12)
    views = [embeddings, *(unit(np.asarray(signals[r], np.float64)) for r in VIEWS)]
    agreements = [(views[i] * views[j]).sum(1) for i in range(len(views)) for j in range(i)]
    # Log-odds far out say no more than near ones; clipped, they do not carry the linear classifier alone.
    statistics = np.stack([*(np.clip(v, -30, 30) for v in logits), norms, compactness(signals)], axis=1)
    return statistics, np.hstack([distances, np.stack(agreements, axis=1)])


def stack(features: np.ndarray, labels: np.ndarray) -> Pipeline:
    """The linear classifier, regularised: there are more columns than any one leak fills."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(features, labels)


def _with_calibrated(
    own: tuple[np.ndarray, np.ndarray], others: Sequence[tuple[np.ndarray, np.ndarray]], inside: np.ndarray
) -> np.ndarray:
    """All columns, and each statistic a second time as its likelihood ratio by the other shadows, where there are any."""
    statistics, further = own
    if not others:
        return np.hstack([statistics, further])
    calibrated = [lira(statistics[:, s], np.stack([c[0][:, s] for c in others]), inside) for s in range(statistics.shape[1])]
    return np.hstack([statistics, further, np.clip(np.stack(calibrated, axis=1), -30, 30)])
