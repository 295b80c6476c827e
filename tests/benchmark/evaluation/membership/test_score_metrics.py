from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from benchmark.evaluation.membership.pooling import Scores
from benchmark.evaluation.membership.score_metrics import auc_estimate, contrast_metrics
from benchmark.metrics.intervals import Estimate
from benchmark.records.results import Metric


def planted(people: int = 60, each: int = 4, shift: float = 1.0, seed: int = 0):
    """Half of every person's photos positive, people with an offset of their own; scores with ties."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(people), each)
    label = np.tile([1, 0], people * each // 2)
    score = rng.standard_normal(people)[identity] + rng.standard_normal(people * each) + shift * label
    return Scores(np.round(score, 1), label, identity)


def test_values_agree_with_scikit_learn():
    scores = planted()
    score, label = scores.score, scores.label
    metrics, _ = contrast_metrics(scores, blind=0.5, seed=0)
    fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
    assert metrics["auc"].value == pytest.approx(roc_auc_score(label, score))
    assert metrics["advantage"].value == pytest.approx((tpr - fpr).max())
    assert metrics["balanced_accuracy"].value == pytest.approx((1 + (tpr - fpr).max()) / 2)


def test_rates_at_a_false_positive_rate_need_enough_negatives():
    metrics, realised = contrast_metrics(planted(), blind=0.5, seed=0)
    few = metrics["tpr@fpr=1e-2"]
    assert few.value is None
    assert few.n == 120
    assert few.note == "not measurable: 120 negatives, 1000 needed"
    assert realised == {}
    scores = planted(people=500)
    score, label = scores.score, scores.label
    metrics, realised = contrast_metrics(scores, blind=0.5, seed=0)
    fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
    assert metrics["tpr@fpr=1e-2"].value == pytest.approx(tpr[fpr <= 0.01].max())
    assert metrics["tpr@fpr=1e-3"].value is None
    assert set(realised) == {"tpr@fpr=1e-2"}
    assert realised["tpr@fpr=1e-2"] <= 0.01


def test_the_excess_is_moved_with_its_interval():
    metrics, _ = contrast_metrics(planted(), blind=0.53, seed=0)
    auc, excess = metrics["auc"], metrics["excess_over_blind"]
    moved = (auc.value - 0.53, auc.low - 0.53, auc.high - 0.53)
    assert (excess.value, excess.low, excess.high) == pytest.approx(moved)
    assert "0.530" in excess.note


def test_less_leakage_is_better():
    metrics, _ = contrast_metrics(planted(), blind=0.5, seed=0)
    assert all(m.higher_is_better is False for m in metrics.values())
    assert all(m.unit == "people" and m.n == 60 for name, m in metrics.items() if not name.startswith("tpr"))


def test_intervals_resample_people_not_photos():
    """Each photo ten times over says nothing new about the people: photos as units would shrink the interval by sqrt(10)."""
    scores = planted()
    once, _ = contrast_metrics(scores, blind=0.5, seed=0)
    often, _ = contrast_metrics(scores.take(np.repeat(np.arange(len(scores.score)), 10)), blind=0.5, seed=0)
    widths = [m["auc"].high - m["auc"].low for m in (once, often)]
    assert widths[1] == pytest.approx(widths[0], rel=0.02)


def test_the_interval_covers_the_truth():
    """95 % intervals over 60 people: of 80, the number that miss is binomial with mean 4."""
    truth = np.mean([roc_auc_score(s.label, s.score) for s in (planted(people=4000, seed=s) for s in range(3))])
    missed = 0
    for seed in range(80):
        value, deviation = auc_estimate(planted(seed=seed + 100), seed=seed)
        missed += abs(value - truth) > 1.96 * deviation
    assert missed <= 12  # P(more) = 0.0002 at 5 %


def test_repeats_by_seed():
    one, two, other = (contrast_metrics(planted(), blind=0.5, seed=s)[0]["auc"] for s in (0, 0, 1))
    assert one == two
    assert one.value == other.value
    assert (one.low, one.high) != (other.low, other.high)


def test_an_estimate_keeps_its_method_and_note():
    metric = Metric.of(Estimate(0.5, 0.4, 0.6, 12, "bca"), higher_is_better=True, note="a note")
    assert (metric.value, metric.low, metric.high, metric.n) == (0.5, 0.4, 0.6, 12)
    assert (metric.method, metric.note, metric.unit, metric.higher_is_better) == ("bca", "a note", "people", True)


def test_several_targets_are_counted_together_and_said_so():
    parts = [planted(seed=s) for s in range(3)]
    together = Scores(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("score", "label", "identity")),
        target=np.repeat([0, 1, 2], len(parts[0].score)),
    )
    metrics, _ = contrast_metrics(together, blind=0.5, seed=0)
    assert metrics["auc"].value == pytest.approx(roc_auc_score(together.label, together.score))
    assert metrics["auc"].n == 60
    assert "people and 3 targets resampled" in metrics["auc"].method
