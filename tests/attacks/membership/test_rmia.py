from __future__ import annotations

import numpy as np

from attacks.membership.rmia import Rmia
from benchmark.evaluation.membership.scores import run_contrast
from benchmark.interfaces import AttackSpec, Contrast
from benchmark.metrics.roc import auc

PLANTED_AUC = {"rmia(statistic=compactness)": 0.45}  # as lira's


def test_the_default_statistic_finds_the_planted_leak_clearly(tiny):
    spec = AttackSpec(name="rmia")
    scores = run_contrast(spec, tiny.evidence([spec]), Contrast.SAMPLE)
    assert auc(scores.score, scores.label) > 0.85
    assert ((scores.score >= 0) & (scores.score <= 1)).all()


def test_the_unit_of_the_statistic_does_not_matter():
    rng = np.random.default_rng(0)
    target, shadows = rng.standard_normal(30), rng.standard_normal((4, 30))
    inside = rng.random((4, 30)) < 0.5
    found, scaled = (Rmia().calibrated(f * target, f * shadows, inside) for f in (1.0, 50.0))
    np.testing.assert_allclose(found, scaled)
