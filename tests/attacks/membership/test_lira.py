from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attacks.membership.lira import Lira
from attacks.shared.statistics import STATISTICS
from benchmark.evaluation.membership.scores import run_contrast
from benchmark.evaluation.membership.summary import run_attack
from benchmark.interfaces import Access, AttackSpec, Contrast
from benchmark.metrics.roc import auc

# A person's compactness speaks of people, and the overfitted world leaks photos: 0.52 there; test_planted_leaks.py has people.
PLANTED_AUC = {"lira(statistic=compactness)": 0.45}


def spec(**settings) -> AttackSpec:
    return AttackSpec(name="lira", settings=settings)


def test_the_default_statistic_finds_the_planted_leak_clearly(tiny):
    scores = run_contrast(spec(), tiny.evidence([spec()]), Contrast.SAMPLE)
    assert auc(scores.score, scores.label) > 0.85


def test_the_training_head_is_a_reference_with_its_own_access(tiny):
    attack = spec(statistic="head_logit")
    result, scores = run_attack(attack, tiny.evidence([attack]), adaptive=False, blind={}, seed=0)
    assert result.access == Access.HEAD
    assert auc(scores[Contrast.SAMPLE].score, scores[Contrast.SAMPLE].label) > 0.9
    assert "no class for" in result.not_applicable[Contrast.IDENTITY]


def test_an_auxiliary_head_has_no_class_for_these_people(tiny):
    attack = spec(statistic="head_logit", knowledge="auxiliary")
    result, _ = run_attack(attack, tiny.evidence([attack]), adaptive=False, blind={}, seed=0)
    assert result.status == "not_applicable"


@pytest.mark.parametrize("name", sorted(STATISTICS))
def test_every_statistic_is_one_number_a_photo(tiny, name):
    attack = Lira(statistic=name)
    evidence = tiny.evidence([spec(statistic=name)])
    index = evidence.sides(Contrast.SAMPLE, labelled=False)
    values = STATISTICS[name].of(replace(evidence.signals.take(index), values=dict(evidence.signals.take(index).values)))
    assert values.shape == (len(index),)
    assert np.isfinite(values).all()
    assert attack.requests() == (STATISTICS[name].request,)
