"""Metrics against scikit-learn, torchmetrics and loops that follow the definitions word by word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from benchmark.interfaces import FaceVeilError
from benchmark.metrics import roc as metrics
from benchmark.metrics.roc import roc


def _cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.5
    scores = rng.normal(size=400) + labels
    rare = rng.random(600) < 0.03
    return {
        "continuous": (scores, labels),
        "ties": (np.round(scores), labels),
        "binary scores": ((scores > 0.5).astype(float), labels),
        "reversed order": (-scores, labels),
        "reversed arrays": (scores[::-1], labels[::-1]),
        "n=1 of each": (np.array([0.3, 0.7]), np.array([True, False])),
        "unequal classes": (rng.normal(size=600) + 2 * rare, rare),
        "all equal": (np.full(40, 0.1), np.arange(40) < 15),
        "perfect": (np.arange(20.0), np.arange(20) >= 10),
        "infinite scores": (np.array([np.inf, 2.0, -np.inf, 1.0, np.inf, 0.0]), np.array([1, 1, 1, 0, 0, 0], bool)),
    }


CASES = _cases()
every_case = pytest.mark.parametrize("case", CASES)
finite_case = pytest.mark.parametrize("case", [c for c in CASES if c != "infinite scores"])


def _thresholds(scores: np.ndarray) -> list[float]:
    return [np.inf, *sorted(set(scores.tolist()), reverse=True)]


def _rates(scores: np.ndarray, labels: np.ndarray, threshold: float, nobody: bool = False) -> tuple[float, float]:
    """By the definition: positive when score >= threshold."""
    called = [s >= threshold and not nobody for s in scores]
    tpr = sum(c for c, y in zip(called, labels, strict=True) if y) / sum(labels)
    fpr = sum(c for c, y in zip(called, labels, strict=True) if not y) / sum(~labels)
    return tpr, fpr


def _curve(scores: np.ndarray, labels: np.ndarray) -> list[tuple[float, float]]:
    return [_rates(scores, labels, t, nobody=i == 0) for i, t in enumerate(_thresholds(scores))]


@every_case
def test_curve_is_that_of_the_definition(case):
    scores, labels = CASES[case]
    curve = roc(scores, labels)
    np.testing.assert_allclose(np.stack([curve.tpr[0], curve.fpr[0]], axis=1), _curve(scores, labels), atol=1e-12)
    assert curve.thresholds.tolist() == _thresholds(scores)


@finite_case
def test_curve_is_that_of_scikit_learn(case):
    scores, labels = CASES[case]
    fpr, tpr, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    curve = roc(scores, labels)
    np.testing.assert_allclose(curve.tpr[0], tpr)
    np.testing.assert_allclose(curve.fpr[0], fpr)
    np.testing.assert_array_equal(curve.thresholds, thresholds)


@every_case
def test_auc_counts_ordered_pairs_and_half_the_ties(case):
    scores, labels = CASES[case]
    positive, negative = scores[labels], scores[~labels]
    wins = (positive[:, None] > negative).mean() + (positive[:, None] == negative).mean() / 2
    assert metrics.auc(scores, labels) == pytest.approx(wins)
    if np.isfinite(scores).all():
        assert metrics.auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


@every_case
@pytest.mark.parametrize("target", [0.001, 0.01, 0.05, 0.1, 0.5, 1.0])
def test_tpr_at_fpr_is_the_largest_within_without_interpolation(case, target):
    scores, labels = CASES[case]
    tpr, fpr, threshold = (v[0] for v in roc(scores, labels).tpr_at_fpr(target))
    within = [rates for rates in _curve(scores, labels) if rates[1] <= target]
    assert tpr == pytest.approx(max(t for t, _ in within))
    assert fpr == pytest.approx(min(f for t, f in within if t == max(t for t, _ in within)))
    assert (tpr, fpr) == pytest.approx(_rates(scores, labels, threshold, nobody=threshold == np.inf and tpr == 0))


def test_tpr_at_fpr_equal_to_the_target_counts():
    labels = np.arange(2000) < 1000
    scores = np.where(labels, 5.0, 0.0)
    scores[1000:1010] = 9.0  # 10 of 1000 negatives: exactly 1e-2
    scores[:3] = 9.0
    point = metrics.tpr_at_fpr(scores, labels, 0.01)
    assert (point.tpr, point.fpr, point.threshold, point.n_negative) == (1.0, 0.01, 5.0, 1000)
    scores[1010] = 9.0
    point = metrics.tpr_at_fpr(scores, labels, 0.01)
    assert (point.tpr, point.fpr, point.threshold) == (0.0, 0.0, np.inf)


@pytest.mark.parametrize(("negatives", "target", "measurable"), [(1000, 1e-2, True), (999, 1e-2, False), (10_000, 1e-3, True)])
def test_tpr_at_fpr_says_where_it_is_not_measurable(negatives, target, measurable):
    labels = np.arange(negatives + 5) < 5
    point = metrics.tpr_at_fpr(labels.astype(float), labels, target)
    assert point.measurable is measurable
    assert point.tpr == (1.0 if measurable else None)
    assert (point.fpr is None) is not measurable
    assert point.n_negative == negatives


@every_case
def test_advantage_and_balanced_accuracy(case):
    scores, labels = CASES[case]
    gains = [t - f for t, f in _curve(scores, labels)]
    assert metrics.advantage(scores, labels) == pytest.approx(max(gains))
    assert metrics.balanced_accuracy(scores, labels) == pytest.approx((1 + max(gains)) / 2)
    threshold = metrics.best_threshold(scores, labels)
    if max(gains) > 0:
        assert threshold == _thresholds(scores)[int(np.argmax(gains))]
        assert metrics.advantage(scores, labels, threshold) == pytest.approx(max(gains))
    for at in (-10.0, 0.1, 0.5, float(np.median(scores)), 10.0):
        tpr, fpr = _rates(scores, labels, at)
        assert metrics.rate_at_threshold(scores, labels, at) == pytest.approx((tpr, fpr))
        assert metrics.advantage(scores, labels, at) == pytest.approx(tpr - fpr)
        assert metrics.balanced_accuracy(scores, labels, at) == pytest.approx(balanced_accuracy_score(labels, scores >= at))


def test_nothing_is_gained_on_reversed_scores():
    labels = np.arange(20) >= 10
    assert metrics.auc(-np.arange(20.0), labels) == 0.0
    assert metrics.advantage(-np.arange(20.0), labels) == 0.0
    assert metrics.best_threshold(-np.arange(20.0), labels) == np.inf


@finite_case
def test_eer_is_where_the_straight_lined_curve_crosses(case):
    scores, labels = CASES[case]
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    along = np.linspace(0, 1, len(fpr))
    where = brentq(lambda x: np.interp(x, along, fpr) + np.interp(x, along, tpr) - 1, 0, 1)
    assert metrics.eer(scores, labels) == pytest.approx(np.interp(where, along, fpr), abs=1e-9)


@pytest.mark.parametrize("case", ["continuous", "reversed order", "unequal classes"])
def test_torchmetrics_agrees_on_probabilities(case):
    torch = pytest.importorskip("torch")
    # imported here: it takes seconds
    theirs = pytest.importorskip("torchmetrics.functional.classification", reason="needs torchmetrics")
    scores, labels = CASES[case]
    probability = torch.from_numpy(1 / (1 + np.exp(-scores)))  # in [0, 1], where torchmetrics applies no sigmoid
    target = torch.from_numpy(labels.astype(np.int64))
    assert metrics.auc(probability.numpy(), labels) == pytest.approx(float(theirs.binary_auroc(probability, target)), abs=1e-5)
    step = 1 / min(labels.sum(), (~labels).sum())  # theirs takes the nearest corner of the curve
    assert metrics.eer(probability.numpy(), labels) == pytest.approx(float(theirs.binary_eer(probability, target)), abs=step)


@finite_case
def test_d_prime(case):
    scores, labels = CASES[case]
    positive, negative = scores[labels], scores[~labels]
    spread = np.sqrt((positive.var() + negative.var()) / 2)
    value = metrics.d_prime(scores, labels)
    if case == "all equal":
        assert np.isnan(value)
    elif spread == 0:
        assert value == -np.inf
    else:
        assert value == pytest.approx((positive.mean() - negative.mean()) / spread)


@pytest.mark.parametrize("positives", [1, 3, 7, 10])
def test_d_prime_of_constants_is_not_rounding(positives):
    for constant in (0.1, 0.3, 1 / 3, 2.7, -0.7):
        labels = np.arange(50) < positives
        weights = np.random.default_rng(0).random((20, 50))
        assert np.isnan(roc(np.full(50, constant), labels, weights).d_prime()).all()
        assert (roc(np.where(labels, constant + 0.6, constant), labels, weights).d_prime() == np.inf).all()


def _all(curve: metrics.Roc) -> dict[str, np.ndarray]:
    tpr, fpr, threshold = curve.tpr_at_fpr(0.05)
    return {
        "auc": curve.auc(), "advantage": curve.advantage(), "advantage at": curve.advantage(0.2),
        "balanced accuracy": curve.balanced_accuracy(), "best": curve.best_threshold(), "eer": curve.eer(),
        "d_prime": curve.d_prime(), "tpr": tpr, "fpr": fpr, "threshold": threshold,
    }  # fmt: skip


@finite_case
def test_weights_are_repetitions(case):
    scores, labels = CASES[case]
    rng = np.random.default_rng(3)
    weights = rng.integers(0, 4, size=(5, len(scores)))
    weights[:, np.flatnonzero(labels)[0]] += 1  # no class vanishes
    weights[:, np.flatnonzero(~labels)[0]] += 1
    batch = _all(roc(scores, labels, weights))
    for row, weight in enumerate(weights):
        single = _all(roc(np.repeat(scores, weight), np.repeat(labels, weight)))
        for name, values in single.items():
            np.testing.assert_allclose(batch[name][row], values[0], atol=1e-9, err_msg=name)


def test_fractional_weights_are_those_of_scikit_learn():
    scores, labels = CASES["ties"]
    weights = np.random.default_rng(4).random((3, len(scores)))
    expected = [roc_auc_score(labels, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(roc(scores, labels, weights).auc(), expected)
    np.testing.assert_allclose(roc(scores, labels, weights[0]).auc(), expected[:1])


@pytest.mark.parametrize("labels", [[True], [False], []])
def test_an_empty_class_gives_no_number(labels):
    scores = np.arange(len(labels), dtype=float)
    for metric in (metrics.auc, metrics.advantage, metrics.balanced_accuracy, metrics.eer, metrics.d_prime):
        assert np.isnan(metric(scores, np.array(labels, bool)))
    assert not metrics.tpr_at_fpr(scores, np.array(labels, bool), 0.5).measurable
    assert metrics.log_spaced_roc(scores, np.array(labels, bool)) == ()


@every_case
def test_log_spaced_roc_is_a_part_of_the_curve(case):
    scores, labels = CASES[case]
    points = metrics.log_spaced_roc(scores, labels, points=50)
    corners = {(round(f, 9), round(t, 9)) for t, f in _curve(scores, labels)}
    assert {(round(f, 9), round(t, 9)) for f, t in points} <= corners
    assert points[-1] == (1.0, 1.0)
    assert points[0] == (0.0, pytest.approx(roc(scores, labels).tpr_at_fpr(0.0)[0][0]))
    assert list(points) == sorted(set(points))


def test_log_spaced_roc_is_short_and_dense_at_low_rates():
    rng = np.random.default_rng(5)
    labels = np.arange(60_000) < 10_000
    points = metrics.log_spaced_roc(rng.normal(size=60_000) + labels, labels)
    assert 150 < len(points) <= 200
    assert sum(fpr < 1e-2 for fpr, _ in points) > 50


@pytest.mark.parametrize(
    ("scores", "labels", "weights", "text"),
    [
        ([0.1, np.nan, np.nan], [0, 1, 1], None, "2 of 3 scores are NaN"),
        ([0.1, 0.2], [0, 2], None, "labels must be 0 or 1"),
        ([0.1, 0.2], [0, 1, 1], None, r"\(N,\)"),
        ([0.1, 0.2], [0, 1], [[1, 1, 1]], "one column a sample"),
    ],
)
def test_bad_input_is_named(scores, labels, weights, text):
    with pytest.raises(FaceVeilError, match=text):
        roc(scores, labels, weights)


def test_bad_targets_and_thresholds_are_named():
    with pytest.raises(FaceVeilError, match=r"\(0, 1\], not 0"):
        metrics.tpr_at_fpr([0.0, 1.0], [0, 1], 0)
    with pytest.raises(FaceVeilError, match="NaN"):
        metrics.advantage([0.0, 1.0], [0, 1], float("nan"))


samples = st.lists(st.tuples(st.integers(-8, 8), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({y for _, y in rows}) == 2
)


@settings(max_examples=150, deadline=None)
@given(samples, st.randoms(use_true_random=False))
def test_only_the_order_of_scores_counts(rows, random):
    scores, labels = np.array([s for s, _ in rows], float), np.array([y for _, y in rows])
    order = np.array(random.sample(range(len(rows)), len(rows)))
    moved = np.exp(scores / 3) - 7
    for metric in (metrics.auc, metrics.advantage, metrics.balanced_accuracy, metrics.eer):
        assert metric(moved, labels) == metric(scores, labels)
        assert metric(scores[order], labels[order]) == metric(scores, labels)
    for target in (0.1, 0.34):
        assert roc(moved, labels).tpr_at_fpr(target)[0] == roc(scores, labels).tpr_at_fpr(target)[0]


@settings(max_examples=150, deadline=None)
@given(samples)
def test_flipped_labels_mirror_the_curve(rows):
    scores, labels = np.array([s for s, _ in rows], float), np.array([y for _, y in rows])
    assert metrics.auc(scores, ~labels) == pytest.approx(1 - metrics.auc(scores, labels))
    assert metrics.auc(-scores, ~labels) == pytest.approx(metrics.auc(scores, labels))
    assert metrics.eer(-scores, ~labels) == pytest.approx(metrics.eer(scores, labels))
    assert metrics.eer(scores, ~labels) == pytest.approx(1 - metrics.eer(scores, labels))
    assert metrics.advantage(-scores, ~labels) == pytest.approx(metrics.advantage(scores, labels))
