from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from attacks.membership.quantile import Quantile
from benchmark.evaluation.membership.scores import run_contrast
from benchmark.interfaces import Access, AttackSpec, Contrast, MembershipAttack, NotApplicableError, SignalRequest, Signals
from benchmark.metrics.roc import auc
from benchmark.signals.answers import Embedding


class LogNorm(MembershipAttack):
    """A base without knowledge: the logarithm of the embedding's length."""

    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE,)

    def requests(self) -> tuple[SignalRequest, ...]:
        return (Embedding(),)

    def score(self, signals: Signals) -> np.ndarray:
        return np.log(np.linalg.norm(signals[self.requests()[0]], axis=1))


def test_takes_out_what_the_features_tell_of_a_score(monkeypatch):
    """The base score hangs on the photo's features far more than on membership; calibrated, membership stands out."""
    monkeypatch.setattr(Quantile, "_base", lambda _self: LogNorm())
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 600)
    features = rng.standard_normal((600, 6))
    norm = np.exp(0.2 * features.sum(1) + 0.05 * rng.standard_normal(600) + 0.1 * labels)
    attack = Quantile(features="pixels")
    embeddings = np.column_stack([norm, np.zeros(600)])
    signals = Signals({"embedding.identity": embeddings, attack.requests()[1].key: features}, np.arange(600))
    known = np.arange(600) < 300
    attack.fit(signals.take(known), labels[known])
    assert auc(norm[~known], labels[~known]) < 0.62
    assert auc(attack.score(signals.take(~known)), labels[~known]) > 0.67


def test_the_strong_base_keeps_its_strength(tiny):
    spec = AttackSpec(name="quantile")
    scores = run_contrast(spec, tiny.evidence([spec]), Contrast.SAMPLE)
    assert auc(scores.score, scores.label) > 0.8


def test_access_is_the_base_s():
    assert Quantile().required_access() == Access.EMBEDDING
    assert Quantile(base="bn_distance").required_access() == Access.WEIGHTS


def test_too_few_known_non_members_are_said(tiny):
    spec = AttackSpec(name="quantile")
    evidence = tiny.evidence([spec])
    index = evidence.sides(Contrast.SAMPLE, labelled=True)
    signals, labels = evidence.signals.take(index), evidence.labels(index, Contrast.SAMPLE)
    few = np.concatenate([np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)[:5]])
    with pytest.raises(NotApplicableError, match="5 known non-members are too few"):
        Quantile().fit(replace(signals.take(few)), labels[few])
