from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics.binned_curves import EXACT, bootstrap_curves
from benchmark.metrics.intervals import bootstrap_many
from benchmark.metrics.roc import roc

RATES = (1e-2, 1e-3)


def statistics(curve):
    return {
        "auc": curve.auc(),
        "advantage": curve.advantage(),
        "low": curve.tpr_at_fpr(1e-2)[0],
        "lowest": curve.tpr_at_fpr(1e-3)[0],
    }


def scores(people, targets, photos, seed=0, decimals=9):
    """Scores of members one deviation higher, people and targets with effects of their own."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), targets * photos)
    target = np.tile(np.repeat(np.arange(targets), photos), people)
    label = rng.random(len(person)) < 0.5
    noise = rng.normal(size=len(person)) + 0.5 * rng.normal(size=people)[person] + 0.3 * rng.normal(size=targets)[target]
    return np.round(noise + label, decimals), label, person, target


def test_few_distinct_scores_lose_nothing():
    score, label, person, target = scores(40, 5, 8, decimals=2)
    assert len(np.unique(score)) <= EXACT
    found = bootstrap_curves(statistics, score, label, person, target, rates=RATES, replicates=50, seed=1)
    exact = bootstrap_many(
        lambda w: statistics(roc(score, label, w)), person, labels=label, targets=target, replicates=50, seed=1
    )
    for name, bootstrap in found.items():
        np.testing.assert_allclose(bootstrap.replicates, exact[name].replicates, atol=1e-12)
        assert (
            bootstrap.estimate == pytest.approx(exact[name].estimate, abs=1e-12) or bootstrap.estimate == exact[name].estimate
        )


def test_many_scores_in_bins_say_the_same():
    score, label, person, target = scores(150, 8, 20)
    assert len(np.unique(score)) > EXACT
    found = bootstrap_curves(statistics, score, label, person, target, rates=RATES, replicates=60, seed=1)
    exact = bootstrap_many(
        lambda w: statistics(roc(score, label, w)), person, labels=label, targets=target, replicates=60, seed=1
    )
    for name, tolerance in {"auc": 1e-4, "advantage": 2e-3, "low": 4e-3, "lowest": 4e-3}.items():
        np.testing.assert_allclose(found[name].replicates, exact[name].replicates, atol=tolerance)


def test_one_target_is_the_bootstrap_over_people():
    score, label, person, target = scores(60, 1, 8)
    found = bootstrap_curves(statistics, score, label, person, target, replicates=50, seed=3)["auc"]
    exact = bootstrap_many(lambda w: {"auc": roc(score, label, w).auc()}, person, labels=label, replicates=50, seed=3)["auc"]
    np.testing.assert_allclose(found.replicates, exact.replicates, atol=1e-12)


def test_names_of_people_and_targets_may_be_any_numbers():
    score, label, person, target = scores(30, 3, 6)
    plain = bootstrap_curves(statistics, score, label, person, target, replicates=20, seed=0)
    named = bootstrap_curves(statistics, score, label, person * 7 + 1000, target * 11 + 5, replicates=20, seed=0)
    assert plain["auc"].estimate == named["auc"].estimate
