"""Ensemble: the signals that a backbone without its head gives, stacked under linear classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import PrivateAttr
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from attacks.membership.regrown_head import RegrownHead
from attacks.shared.centres import gallery, unit
from attacks.shared.query_shadows import inside_of, scores_of
from attacks.shared.shadow_calibration import lira
from attacks.shared.statistics import EMBEDDING, compactness
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
from benchmark.signals.answers import Embedding
from benchmark.signals.layers import NormDistance

# Means of the features themselves: they exist whatever the normalisation.
DISTANCES = NormDistance(statistic="mean_var", reference="feature_means")
VIEWS = tuple(Embedding(view=view) for view in ("flip", "shift", "dim", "blur"))
GALLERIES = ("mean", "weighted", "marginal")
FOLDS = 5


class Ensemble(MembershipAttack):
    """Linear classifiers on all scores and distances of a photo together, in two levels.

    The scores are the regrown head's log-odds (three galleries), the embedding's norm and the person's compactness; the many
    weak columns are the cosines between views of the photo, and the distance of every normalisation layer's input to its mean
    on public faces.  The weak ones first become one number, learned on other people than it is used for, so that their count
    does not drown the scores.  With ``partial`` knowledge it learns from a labelled share of the people.  With ``query_pool``
    each shadow plays the target in turn, and every score appears a second time, calibrated by the other shadows.
    """

    name: ClassVar[str] = "ensemble"
    title: ClassVar[str] = "ensemble"
    summary: ClassVar[str] = "Headless signals of a photo stacked under linear classifiers, in two levels."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    access: ClassVar[Access] = Access.WEIGHTS
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY)
    needs_gallery: ClassVar[bool] = True

    knowledge: Literal[Knowledge.PARTIAL, Knowledge.QUERY_POOL] = Knowledge.PARTIAL

    _stack: Stack = PrivateAttr()
    _shadows: Sequence[QueryShadow] = PrivateAttr(())

    def requests(self) -> tuple[SignalRequest, ...]:
        return (EMBEDDING, DISTANCES, *VIEWS)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        self._stack = Stack.fitted(*columns(signals), labels, signals.identity)

    def calibrate(self, shadows: Sequence[QueryShadow]) -> None:
        self._shadows = shadows

    def score(self, signals: Signals) -> np.ndarray:
        """(N,) log-odds."""
        statistics, further = columns(signals)
        if not self._shadows:
            return self._stack.log_odds(statistics, further)
        inside = inside_of(self._shadows)
        scores = scores_of(self._shadows, "ensemble statistics", lambda s: s.remembered("ensemble", columns)[0])
        weak = scores_of(self._shadows, "ensemble further", lambda s: s.remembered("ensemble", columns)[1])
        features, labels, people = [], [], []
        for k, own in enumerate(scores):
            others = np.arange(len(scores)) != k
            known = self._shadows[k].usable
            features.append(np.column_stack([_with_calibrated(own, scores[others], inside[others]), weak[k]])[known])
            labels.append(inside[k, known])
            people.append(signals.identity[known])
        # A shadow that plays the target is calibrated by one shadow fewer; so is the target, for the same scale.
        own = _with_calibrated(statistics, scores[1:], inside[1:])
        stacked, width = np.concatenate(features), own.shape[1]
        stack = Stack.fitted(stacked[:, :width], stacked[:, width:], np.concatenate(labels), np.concatenate(people))
        return stack.log_odds(own, further)


@dataclass(frozen=True)
class Stack:
    """Two levels: ``weak`` turns the many columns into one, ``scores`` takes it beside the statistics."""

    weak: Pipeline
    scores: Pipeline

    @staticmethod
    def fitted(statistics: np.ndarray, further: np.ndarray, labels: np.ndarray, people: np.ndarray) -> Stack:
        """From statistics (N, S), further columns (N, F), labels (N,) and the person of each photo (N,)."""
        weak = _linear(1e-3)
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
        of_others = cross_val_predict(weak, further, labels, groups=people, cv=folds, method="decision_function")
        scores = _linear(1.0).fit(np.column_stack([statistics, of_others]), labels)
        return Stack(weak.fit(further, labels), scores)

    def log_odds(self, statistics: np.ndarray, further: np.ndarray) -> np.ndarray:
        result: np.ndarray = self.scores.decision_function(np.column_stack([statistics, self.weak.decision_function(further)]))
        return result


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


def _linear(strength: float) -> Pipeline:
    """A linear classifier; the smaller ``strength``, the more it is regularised."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))


def _with_calibrated(own: np.ndarray, others: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Statistics (N, S), and each a second time as its likelihood ratio by others' (K, N, S), where there are any."""
    if not len(others):
        return own
    calibrated = [lira(own[:, s], others[:, :, s], inside) for s in range(own.shape[1])]
    return np.hstack([own, np.clip(np.stack(calibrated, axis=1), -30, 30)])
