from __future__ import annotations

import numpy as np

from attacks.membership.bn_lira import BNLira
from attacks.membership.bn_rmia import BNRmia
from attacks.shared.shadow_calibration import rmia
from benchmark.evaluation.membership.evidence import narrowed
from benchmark.evaluation.membership.scores import query_shadows, run_contrast
from benchmark.interfaces import AttackSpec, Contrast


def test_is_rmia_on_the_scores_that_bn_lira_calibrates(tiny):
    spec = AttackSpec(name="bn_rmia", settings={"temperature": 2.0})
    evidence = tiny.evidence([spec])
    found = run_contrast(spec, evidence, Contrast.SAMPLE)
    lira, index = BNLira(), evidence.sides(Contrast.SAMPLE, labelled=False)
    lira.calibrate(query_shadows(lira, evidence, Contrast.SAMPLE, index))
    expected = rmia(*lira.scores(narrowed(evidence.signals, lira, index)), temperature=2.0)
    np.testing.assert_array_equal(found.score, expected)
    assert BNRmia().requests() == lira.requests()
