from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from attacks.membership.bn_distance import BNDistance
from benchmark.evaluation.membership.summary import run_attack
from benchmark.interfaces import AttackSpec, Contrast, Knowledge, SettingsError, Signals
from benchmark.metrics.roc import auc
from benchmark.protocol.registry import build_attack

PLANTED_AUC = 0.85  # measured on the overfitted world: 0.98 mean, 0.999 mean_var, 0.98 with a shadow


def signals_of(distances: np.ndarray, attack: BNDistance) -> Signals:
    return Signals({attack.requests()[0].key: distances.astype(np.float32)}, np.arange(len(distances)))


def planted(rng: np.random.Generator, n: int = 200, layers: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Distances with a long tail and layers of different scale; members lie closer at layer 2."""
    labels = rng.integers(0, 2, n)
    logs = rng.standard_normal((n, layers)) + np.array([-4.0, 0.0, 2.0, 5.0, -1.0])
    logs[:, 2] -= 2.5 * labels
    return np.exp(logs), labels


def test_asks_for_one_distance_vector():
    assert BNDistance().requests()[0].key == "norm.mean.stored.identity"
    (request,) = BNDistance(statistic="mean_var", statistics="auxiliary").requests()
    assert request.key == "norm.mean_var.auxiliary.identity"


def test_is_logistic_regression_on_log_distances():
    distances, labels = planted(np.random.default_rng(0))
    attack = BNDistance()
    attack.fit(signals_of(distances, attack), labels)

    logs = np.log(distances)
    x = (logs - logs.mean(0)) / logs.std(0)
    sign = 2.0 * labels - 1

    def objective(w: np.ndarray) -> float:
        return 0.5 * w[1:] @ w[1:] + np.logaddexp(0, -sign * (x @ w[1:] + w[0])).sum()

    w = minimize(objective, np.zeros(6), method="BFGS").x
    np.testing.assert_allclose(attack.score(signals_of(distances, attack)), x @ w[1:] + w[0], atol=5e-3)


def test_finds_members_among_other_photos_whatever_the_scale_of_a_layer():
    rng = np.random.default_rng(1)
    known, known_labels = planted(rng)
    asked, asked_labels = planted(rng)
    scores = []
    for scale in (1.0, 1000.0):
        attack = BNDistance()
        factor = np.array([1.0, 1.0, scale, 1.0, 1.0])
        attack.fit(signals_of(known * factor, attack), known_labels)
        scores.append(attack.score(signals_of(asked * factor, attack)))
    assert auc(scores[0], asked_labels) > 0.93
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-3)


def test_a_distance_of_zero_is_finite():
    distances, labels = planted(np.random.default_rng(2))
    distances[0] = 0
    attack = BNDistance()
    attack.fit(signals_of(distances, attack), labels)
    assert np.isfinite(attack.score(signals_of(distances, attack))).all()


@pytest.mark.parametrize("knowledge", ["none", "query_pool"])
def test_refuses_knowledge_that_it_cannot_use(knowledge):
    with pytest.raises(SettingsError, match="knowledge"):
        build_attack(AttackSpec(name="bn_distance", settings={"knowledge": knowledge}))


def test_statistics_estimated_on_public_faces_find_the_leak_too(tiny):
    """The stored statistics need not be read: hiding them is no defence."""
    spec = AttackSpec(name="bn_distance", settings={"statistics": "auxiliary"})
    result, _ = run_attack(spec, tiny.evidence([spec]), adaptive=True, blind={}, seed=0)
    found = result.contrasts[Contrast.SAMPLE].metrics["auc"]
    assert found.low > 0.7
    assert result.knowledge == Knowledge.PARTIAL
    assert result.adaptive


def test_without_shadows_the_auxiliary_attacker_is_not_applicable(tiny):
    spec = AttackSpec(name="bn_distance", settings={"knowledge": "auxiliary"})
    evidence = replace(tiny.evidence([spec]), shadows=())
    result, scores = run_attack(spec, evidence, adaptive=False, blind={}, seed=0)
    assert result.status == "not_applicable"
    assert "no shadow backbones" in result.reason
    assert not scores
    assert not result.contrasts
