from __future__ import annotations

import numpy as np

from attacks.membership.bavaria import Bavaria
from attacks.membership.lira import Lira
from benchmark.evaluation.membership.scores import run_contrast
from benchmark.interfaces import AttackSpec, Contrast
from benchmark.metrics.roc import auc

# A person's compactness speaks of people, of whom the overfitted world leaks next to nothing: 0.52, as lira's.
PLANTED_AUC = {"bavaria(statistic=compactness)": 0.45}


def test_the_default_statistic_finds_the_planted_leak_clearly(tiny):
    spec = AttackSpec(name="bavaria")
    scores = run_contrast(spec, tiny.evidence([spec]), Contrast.SAMPLE)
    assert auc(scores.score, scores.label) > 0.85


def test_it_reads_what_lira_reads_and_differs_in_the_calibration_alone():
    assert Bavaria().requests() == Lira().requests()
    rng = np.random.default_rng(0)
    target, shadows, inside = rng.standard_normal(300), rng.standard_normal((6, 300)), rng.random((6, 300)) < 0.5
    found = Bavaria().calibrated(target, shadows, inside)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, Bavaria().calibrated(9 * target, 9 * shadows, inside), rtol=1e-6)
