from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attacks.membership.bn_lira import residual_scores, residuals
from benchmark.evaluation.membership.scores import run_contrast
from benchmark.evaluation.membership.summary import run_attack
from benchmark.interfaces import AttackSpec, Contrast
from benchmark.metrics.roc import auc

SPEC = AttackSpec(name="bn_lira")


def leaking(photos: int, shadows: int, layers: int = 5, seed: int = 0):
    """Distances that hang on the photo first of all, and a little on membership, in one layer more than in others."""
    rng = np.random.default_rng(seed)
    ease = rng.standard_normal((photos, layers))
    inside = np.zeros((shadows, photos), bool)
    for k in range(0, shadows, 2):
        inside[k] = rng.random(photos) < 0.5
        inside[k + 1] = ~inside[k]
    pull = 0.4 * np.arange(layers) / layers
    labels = rng.random(photos) < 0.5
    values = ease - inside[:, :, None] * pull + 0.5 * rng.standard_normal((shadows, photos, layers))
    return ease - labels[:, None] * pull + 0.5 * rng.standard_normal((photos, layers)), values, inside, labels


def test_residuals_take_out_what_kind_of_photo_it_is():
    target, shadows, inside, _ = leaking(1500, 8)
    found = residuals(target, shadows, inside)
    assert found.shape == target.shape
    before, after = (abs(np.corrcoef(v[:, 0], shadows[:4, :, 0].mean(0))[0, 1]) for v in (target, found))
    assert before > 0.8
    assert after < 0.3


def test_shadows_teach_one_another_where_the_leak_is():
    target, shadows, inside, labels = leaking(3000, 8)
    score, _, _ = residual_scores(target, shadows, inside)
    assert max(abs(auc(column, labels) - 0.5) for column in target.T) < 0.1
    assert auc(score, labels) > 0.62


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_shadows_serves(tiny, count):
    evidence = tiny.evidence([SPEC])
    fewer = replace(evidence, pool=evidence.pool[:count])
    scores = run_contrast(SPEC, fewer, Contrast.SAMPLE)
    assert auc(scores.score, scores.label) > 0.8


def test_without_a_pool_it_is_not_applicable(tiny):
    evidence = replace(tiny.evidence([SPEC]), pool=[])
    result, _ = run_attack(SPEC, evidence, adaptive=False, blind={}, seed=0)
    assert result.status == "not_applicable"
    assert "no shadow backbones" in result.reason


def test_auxiliary_shadows_calibrate_offline(tiny):
    spec = AttackSpec(name="bn_lira", settings={"knowledge": "auxiliary"})
    evidence = tiny.evidence([spec])
    assert len(evidence.shadows[0].queried) == len(evidence.signals)
    scores = run_contrast(spec, evidence, Contrast.SAMPLE)
    assert auc(scores.score, scores.label) > 0.7
