from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attacks.membership.ensemble import columns
from benchmark.evaluation.membership.scores import run_contrast
from benchmark.evaluation.membership.summary import run_attack
from benchmark.interfaces import AttackSpec, BackboneSpec, Contrast
from benchmark.metrics.roc import auc
from benchmark.training.build import make_untrained

SPEC = AttackSpec(name="ensemble")
POOL = AttackSpec(name="ensemble", settings={"knowledge": "query_pool"})


def test_reaches_what_its_best_part_reaches(tiny):
    parts = [AttackSpec(name="regrown_head"), AttackSpec(name="bn_distance")]
    evidence = tiny.evidence([SPEC, POOL, *parts])
    values = {}
    for spec in (SPEC, POOL, *parts):
        scores = run_contrast(spec, evidence, Contrast.SAMPLE)
        values[spec.label] = auc(scores.score, scores.label)
    best = max(values["regrown_head"], values["bn_distance"])
    assert values["ensemble"] > best - 0.03
    assert values[POOL.label] > best - 0.03


@pytest.mark.parametrize("count", [1, 2])
def test_few_shadows_serve(tiny, count):
    evidence = tiny.evidence([POOL])
    fewer = replace(evidence, pool=evidence.pool[:count])
    scores = run_contrast(POOL, fewer, Contrast.SAMPLE)
    assert auc(scores.score, scores.label) > 0.85


def test_every_column_is_finite(tiny):
    evidence = tiny.evidence([SPEC])
    statistics, further = columns(evidence.signals.take(evidence.sides(Contrast.SAMPLE, labelled=False)))
    assert statistics.shape[1] == 5
    assert np.isfinite(statistics).all()
    assert np.isfinite(further).all()


def test_needs_no_batchnorm(flow):
    backbone = BackboneSpec(name="iresnet_slim", kwargs={"width": 0.125, "embedding_size": 16, "norm": "group"})
    grouped = make_untrained(flow.track.model_copy(update={"backbone": backbone}), flow.folder)
    result, _ = run_attack(SPEC, flow.evidence([SPEC], grouped), adaptive=False, blind={}, seed=0)
    assert result.status == "ok"
