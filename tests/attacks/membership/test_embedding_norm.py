from __future__ import annotations

import math

import numpy as np
import pytest

from attacks.membership.embedding_norm import EmbeddingNorm
from benchmark.interfaces import AttackSpec, NotApplicableError, SettingsError, Signals
from benchmark.metrics.roc import auc
from benchmark.protocol.registry import build_attack

PLANTED_AUC = 0.85  # measured on the overfitted world: 0.986


def signals_of(embeddings: np.ndarray) -> Signals:
    return Signals({"embedding.identity": embeddings}, np.arange(len(embeddings)))


def of_length(lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    directions = rng.standard_normal((len(lengths), 8))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True) * lengths[:, None]


def log_density(x: float, values: list[float]) -> float:
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    return -0.5 * math.log(2 * math.pi * variance) - (x - mean) ** 2 / (2 * variance)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5])
def test_is_the_log_likelihood_ratio_of_the_p_norm(p):
    rng = np.random.default_rng(0)
    embeddings, labels = rng.standard_normal((40, 6)), rng.integers(0, 2, 40)
    attack = EmbeddingNorm(p=p)
    attack.fit(signals_of(embeddings), labels)
    norms = [sum(abs(v) ** p for v in row) ** (1 / p) for row in embeddings.tolist()]
    by_class = [[n for n, label in zip(norms, labels, strict=True) if label == c] for c in (0, 1)]
    expected = [log_density(n, by_class[1]) - log_density(n, by_class[0]) for n in norms]
    np.testing.assert_allclose(attack.score(signals_of(embeddings)), expected, rtol=1e-9)


@pytest.mark.parametrize("longer", [True, False])
def test_learns_whether_members_are_longer_or_shorter(longer):
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 100)
    lengths = rng.normal(10, 1, 200) + (3 if longer else -3) * labels
    attack = EmbeddingNorm()
    attack.fit(signals_of(of_length(lengths, rng)), labels)
    assert auc(attack.score(signals_of(of_length(lengths, rng))), labels) > 0.95


def test_a_spread_alone_tells_members():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 300)
    lengths = 20 + rng.standard_normal(600) * np.where(labels == 1, 0.3, 3.0)
    attack = EmbeddingNorm()
    attack.fit(signals_of(of_length(lengths, rng)), labels)
    assert auc(attack.score(signals_of(of_length(lengths, rng))), labels) > 0.8


def test_normalised_embeddings_are_not_applicable():
    rng = np.random.default_rng(3)
    unit = of_length(np.ones(50), rng).astype(np.float32)
    with pytest.raises(NotApplicableError, match="same norm"):
        EmbeddingNorm().fit(signals_of(unit), rng.integers(0, 2, 50))


def test_p_must_be_positive():
    with pytest.raises(SettingsError, match="p: "):
        build_attack(AttackSpec(name="embedding_norm", settings={"p": 0}))
