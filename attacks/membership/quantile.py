"""Quantile regression: how high would this photo score if it had not been trained on?"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PrivateAttr
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.interfaces import (
    Access,
    AttackSpec,
    Contrast,
    Knowledge,
    MembershipAttack,
    NotApplicableError,
    Reference,
    SignalRequest,
    Signals,
)
from benchmark.protocol.registry import build_attack
from benchmark.signals.answers import Embedding
from benchmark.signals.pixels import Pixels

FOLDS = 5
FEWEST = 20  # known non-members to learn a score's distribution from, at least
_FEATURES = {"pixels": Pixels(), "embedding": Embedding()}


class Quantile(MembershipAttack):
    """Another attack's score, set against what a non-member with such features would get: calibration without shadows.

    On known non-members a Gaussian is fitted to the ``base`` attack's score given the photo's ``features``: its mean and the
    logarithm of its spread by ridge regression (the paper's Gaussian likelihood form, which gives every quantile at once).
    The result is the score's standing in that Gaussian, in standard deviations.  A base that learns is fitted on other
    people than those whose scores are regressed.
    """

    name: ClassVar[str] = "quantile"
    title: ClassVar[str] = "quantile regression"
    summary: ClassVar[str] = "Another attack's score, calibrated by regression on the photos of known non-members."
    reference: ClassVar[Reference] = Reference(
        title="Scalable Membership Inference Attacks via Quantile Regression", where="NeurIPS 2023", arxiv="2307.03694"
    )
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY, Contrast.PAPER)
    needs_gallery: ClassVar[bool] = True

    knowledge: Literal[Knowledge.PARTIAL] = Knowledge.PARTIAL
    base: Literal["regrown_head", "bn_distance", "encoder_mi", "embedding_norm"] = "regrown_head"
    features: Literal["embedding", "pixels"] = "embedding"

    _fitted: MembershipAttack = PrivateAttr()
    _mean: Pipeline = PrivateAttr()
    _spread: Pipeline = PrivateAttr()

    def _base(self) -> MembershipAttack:
        return build_attack(AttackSpec(name=self.base))

    def required_access(self) -> Access:
        """What the base needs, and the embedding where that is looked at."""
        needed = [self._base().required_access(), *(r.access for r in self.requests())]
        return max(needed, key=list(Access).index)

    def requests(self) -> tuple[SignalRequest, ...]:
        return tuple(dict.fromkeys((*self._base().requests(), _FEATURES[self.features])))

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        """Fits the base on labelled photos, and the score's distribution on the non-members among them.

        Raises:
            NotApplicableError: fewer than 20 known non-members.
        """
        outside = labels == 0
        if outside.sum() < FEWEST:
            raise NotApplicableError(f"{int(outside.sum())} known non-members are too few to learn from ({FEWEST}).")
        scores = self._scores_of_others(signals, labels)
        features, scores = self._features(signals)[outside], scores[outside]
        self._mean, self._spread = _regression(len(scores), features.shape[1]), _regression(len(scores), features.shape[1])
        # of photos left out, because those regressed on lie closer
        residuals = scores - cross_val_predict(self._mean, features, scores, cv=FOLDS)
        self._mean.fit(features, scores)
        self._spread.fit(features, np.log(np.abs(residuals) + 1e-3 * residuals.std() + 1e-12))
        self._fitted = self._base()
        if self._fitted.knowledge != Knowledge.NONE:
            self._fitted.fit(signals, labels)

    def _scores_of_others(self, signals: Signals, labels: np.ndarray) -> np.ndarray:
        """(N,) base scores, each by a base fitted on other people."""
        if self._base().knowledge == Knowledge.NONE:
            return self._base().score(signals)
        people, person = np.unique(signals.identity, return_inverse=True)
        fold = np.random.default_rng(0).permutation(len(people))[person] % FOLDS
        scores = np.empty(len(signals))
        for n in range(FOLDS):
            base = self._base()
            base.fit(signals.take(fold != n), labels[fold != n])
            scores[fold == n] = base.score(signals.take(fold == n))
        return scores

    def _features(self, signals: Signals) -> np.ndarray:
        values = np.asarray(signals[_FEATURES[self.features]], np.float64)
        result: np.ndarray = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
        return result

    def score(self, signals: Signals) -> np.ndarray:
        features = self._features(signals)
        scores = self._fitted.score(signals)
        result: np.ndarray = (scores - self._mean.predict(features)) / np.exp(self._spread.predict(features))
        return result


def _regression(count: int, width: int) -> Pipeline:
    components = max(1, min(32, width, count // 4))
    return make_pipeline(StandardScaler(), PCA(components, random_state=0), RidgeCV(np.logspace(0, 7, 15)))
