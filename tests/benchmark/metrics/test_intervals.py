"""Intervals against scipy, closed forms, and by their coverage on clustered data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from benchmark.interfaces import FaceVeilError
from benchmark.metrics import intervals
from benchmark.metrics.intervals import _tails, bootstrap_many, bootstrap_over_identities, clopper_pearson, resample_people
from benchmark.metrics.roc import roc


def _mean(values):
    return lambda weights: (weights @ values) / weights.sum(axis=1)


def _clustered(rng, people=60, photos=5, effect=0.0, spread=1.0):
    """Scores with a person's own offset; half of each person's photos positive."""
    identity = np.repeat(np.arange(people), 2 * photos)
    labels = np.tile(np.arange(2 * photos) < photos, people)
    scores = rng.normal(size=len(identity)) + spread * rng.normal(size=people)[identity] + effect * labels
    return scores, labels, identity


def test_bca_is_that_of_scipy_on_skewed_data():
    values = np.random.default_rng(1).lognormal(sigma=1.2, size=60)
    ours = bootstrap_over_identities(_mean(values), np.arange(60), replicates=8000, seed=0)
    theirs = bootstrap(
        (values,), np.mean, n_resamples=8000, method="BCa", random_state=np.random.default_rng(2)
    ).confidence_interval
    plain = np.quantile(
        bootstrap((values,), np.mean, n_resamples=8000, random_state=np.random.default_rng(3)).bootstrap_distribution,
        [0.025, 0.975],
    )
    assert ours.method == "bca"
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), rel=0.03)
    assert ours.high > 1.03 * plain[1]  # it corrects for the skewness that the percentile interval ignores


def test_people_are_the_units_not_photos():
    rng = np.random.default_rng(0)
    people = rng.normal(size=50)
    once = bootstrap_over_identities(_mean(people), np.arange(50), seed=0)
    ten = bootstrap_over_identities(_mean(np.repeat(people, 10)), np.repeat(np.arange(50), 10), seed=0)
    as_if = bootstrap_over_identities(_mean(np.repeat(people, 10)), np.arange(500), seed=0)
    assert (ten.low, ten.high, ten.n) == pytest.approx((once.low, once.high, 50))
    assert as_if.high - as_if.low < 0.5 * (ten.high - ten.low)


def test_resamples_depend_on_the_people_and_the_seed_alone():
    scores, labels, identity = _clustered(np.random.default_rng(0))
    order = np.random.default_rng(1).permutation(len(scores))

    def run(index, seed, **settings):
        def statistics(weights):
            return {"auc": roc(scores[index], labels[index], weights).auc()}

        return bootstrap_many(statistics, identity[index], labels=labels[index], seed=seed, **settings)["auc"]

    straight = run(np.arange(len(scores)), 5, replicates=60)
    shuffled = run(order, 5, replicates=60)
    np.testing.assert_allclose(shuffled.replicates, straight.replicates)
    assert shuffled.estimate.low == pytest.approx(straight.estimate.low)
    np.testing.assert_array_equal(run(np.arange(len(scores)), 5, replicates=20).replicates, straight.replicates[:20])
    assert not np.allclose(run(np.arange(len(scores)), 6, replicates=60).replicates, straight.replicates)


def test_statistics_of_the_same_people_are_paired():
    rng = np.random.default_rng(2)
    person = rng.normal(size=80)
    first, second = person + 0.1 * rng.normal(size=80), person + 0.1 * rng.normal(size=80) - 0.1
    one = bootstrap_many(lambda w: {"x": _mean(first)(w)}, np.arange(80), seed=3)["x"].replicates
    other = bootstrap_many(lambda w: {"x": _mean(second)(w)}, np.arange(80), seed=3)["x"].replicates
    assert np.std(one - other) < 0.3 * np.std(one)


def test_names_and_numbers_of_people_are_alike():
    values = np.random.default_rng(0).normal(size=30)
    names = np.array([f"person {i:02d}" for i in range(30)])
    assert bootstrap_over_identities(_mean(values), names, seed=1) == bootstrap_over_identities(
        _mean(values), np.arange(30), seed=1
    )


def test_chunks_change_nothing(monkeypatch):
    scores, labels, identity = _clustered(np.random.default_rng(3), effect=0.5)
    whole = bootstrap_over_identities(lambda w: roc(scores, labels, w).auc(), identity, labels=labels, replicates=100, seed=0)
    sizes = []
    monkeypatch.setattr(intervals, "_CHUNK", 7 * len(scores))

    def statistic(weights):
        sizes.append(len(weights))
        return roc(scores, labels, weights).auc()

    assert bootstrap_over_identities(statistic, identity, labels=labels, replicates=100, seed=0) == whole
    assert max(sizes) == 7


def test_each_stratum_keeps_its_number_of_people():
    strata = np.array([1] * 3 + [2] * 40)
    counts = resample_people(strata, replicates=300, seed=0)
    assert counts.shape == (300, 43)
    assert set(counts[:, :3].sum(axis=1)) == {3}
    assert set(counts[:, 3:].sum(axis=1)) == {40}
    assert counts[:, 3:].var(axis=0).mean() == pytest.approx(1 - 1 / 40, rel=0.05)  # multinomial
    np.testing.assert_array_equal(counts[:50], resample_people(strata, replicates=50, seed=0))


@pytest.mark.parametrize("members", [1, 2, 40])
def test_no_class_vanishes_where_classes_are_different_people(members):
    rng = np.random.default_rng(0)
    identity = np.repeat(np.arange(members + 50), 3)
    labels = identity < members
    scores = rng.normal(size=len(identity)) + labels
    found = bootstrap_many(lambda w: {"auc": roc(scores, labels, w).auc()}, identity, labels=labels, seed=0)["auc"]
    assert np.isfinite(found.replicates).all()
    assert found.estimate.method == "bca"
    assert found.estimate.low < found.estimate.value < found.estimate.high


def test_a_rate_of_one_gets_clopper_pearson_of_the_people():
    identity = np.repeat(np.arange(20), 4)
    labels = np.tile([True, True, False, False], 20)
    for sign, expected in ((1, (0.8315665, 1.0)), (-1, (0.0, 0.1684335))):
        scores = sign * labels.astype(float)
        estimate = bootstrap_over_identities(lambda w, s=scores: roc(s, labels, w).auc(), identity, labels=labels, seed=0)
        assert estimate.method == "clopper_pearson"
        assert (estimate.low, estimate.high) == pytest.approx(expected)
        assert estimate.n == 20


def test_a_rate_of_one_rests_on_the_smaller_class():
    identity = np.arange(30)
    labels = identity < 5
    estimate = bootstrap_over_identities(
        lambda w: roc(labels.astype(float), labels, w).advantage(), identity, labels=labels, seed=0
    )
    assert estimate.low == pytest.approx(clopper_pearson(5, 5)[0])


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (499, 500)])
def test_clopper_pearson_is_that_of_scipy(successes, trials):
    theirs = binomtest(successes, trials).proportion_ci(0.95, "exact")
    assert clopper_pearson(successes, trials) == pytest.approx((theirs.low, theirs.high))


def test_all_equal_scores_are_degenerate():
    identity, labels = np.repeat(np.arange(10), 2), np.tile([True, False], 10)
    estimate = bootstrap_over_identities(lambda w: roc(np.ones(20), labels, w).auc(), identity, labels=labels, seed=0)
    assert (estimate.value, estimate.low, estimate.high, estimate.method) == (0.5, 0.5, 0.5, "degenerate")


def test_one_person_has_no_spread():
    labels = np.array([True, True, False])
    estimate = bootstrap_over_identities(lambda w: roc([3.0, 1.0, 2.0], labels, w).auc(), np.zeros(3), labels=labels, seed=0)
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (0.5, None, None, 1)
    perfect = bootstrap_over_identities(lambda w: roc([3.0, 3.0, 2.0], labels, w).auc(), np.zeros(3), labels=labels, seed=0)
    assert (perfect.low, perfect.high) == pytest.approx((0.025, 1.0))


def test_an_undefined_statistic_is_not_measurable():
    estimate = bootstrap_over_identities(lambda w: roc(np.arange(4.0), np.ones(4), w).auc(), np.arange(4), seed=0)
    assert (estimate.value, estimate.low, estimate.high, estimate.method) == (None, None, None, "not_measurable")


def test_percentile_where_bca_is_undefined():
    # Everybody is in the sample, and in no resample: the value lies outside its replicates, so there is no bias correction.
    found = bootstrap_many(lambda w: {"share": (w > 0).mean(axis=1)}, np.arange(100), seed=0)["share"]
    assert found.estimate.method == "percentile"
    assert (found.estimate.low, found.estimate.high) == pytest.approx(tuple(np.quantile(found.replicates, _tails(100))))
    assert found.replicates.mean() == pytest.approx(1 - np.exp(-1), abs=0.02)


@pytest.mark.parametrize(
    ("identity", "labels", "replicates", "text"),
    [
        ([], None, 10, "no people"),
        ([1, 2], [True], 10, r"\(N,\)"),
        ([1, 2], None, 0, "at least 1"),
    ],
)
def test_bad_input_is_named(identity, labels, replicates, text):
    with pytest.raises(FaceVeilError, match=text):
        bootstrap_over_identities(lambda w: w.sum(axis=1), np.array(identity), labels=labels, replicates=replicates, seed=0)


def _coverage(truth, draw, runs, replicates=400):
    """Share of intervals of independent data sets that contain the truth, for BCa over people and for photos as units."""
    people, photos = 0, 0
    for run in range(runs):
        scores, labels, identity = draw(np.random.default_rng(1000 + run))
        by_person = bootstrap_over_identities(
            lambda w, s=scores, y=labels: roc(s, y, w).auc(), identity, labels=labels, replicates=replicates, seed=run
        )
        by_photo = bootstrap_over_identities(
            lambda w, s=scores, y=labels: roc(s, y, w).auc(), np.arange(len(scores)), labels=labels, replicates=100, seed=run
        )
        people += by_person.low <= truth <= by_person.high
        photos += by_photo.low <= truth <= by_photo.high
    return people / runs, photos / runs


@pytest.mark.slow
def test_coverage_of_the_identity_contrast():
    """Positives and negatives are different people, whose photos share an offset: people must be the units."""

    def draw(rng, people=60, photos=6):
        identity = np.repeat(np.arange(2 * people), photos)
        labels = identity < people
        scores = rng.normal(size=len(identity)) + rng.normal(size=2 * people)[identity] + 0.8 * labels
        return scores, labels, identity

    scores, labels, _ = draw(np.random.default_rng(0), people=40_000)
    by_person, by_photo = _coverage(roc(scores, labels).auc()[0], draw, runs=400)
    assert 0.92 <= by_person <= 0.98
    assert by_photo < 0.85


@pytest.mark.slow
def test_coverage_of_the_sample_contrast():
    """Positives and negatives of the same people."""
    scores, labels, _ = _clustered(np.random.default_rng(0), people=40_000, effect=0.7)
    truth = roc(scores, labels).auc()[0]
    by_person, _ = _coverage(truth, lambda rng: _clustered(rng, effect=0.7), runs=400)
    assert 0.92 <= by_person <= 0.98


def test_tails_widen_for_few_people_and_are_plain_for_many():
    """Phi(-sqrt(n / (n - 1)) t), t of n - 1 degrees of freedom."""
    assert _tails(7)[0] == pytest.approx(0.0041, abs=2e-4)
    assert _tails(40)[0] == pytest.approx(0.0203, abs=2e-4)
    assert _tails(100_000) == pytest.approx([0.025, 0.975], abs=1e-5)
    assert _tails(1) == pytest.approx([0.025, 0.975])


def test_intervals_of_few_people_hold_the_mean_often_enough():
    """Plain percentile intervals of 12 values hold it in some 91 % of draws."""
    held = 0
    for draw in range(400):
        values = np.random.default_rng([9, draw]).normal(size=12)
        found = bootstrap_over_identities(
            lambda w, values=values: (w @ values) / w.sum(axis=1), np.arange(12), replicates=400, seed=draw
        )
        held += found.low <= 0 <= found.high
    assert held / 400 == pytest.approx(0.95, abs=0.025)


def crossed(rng, people=60, targets=8, effects=(0.5, 0.3, 1.0)):
    """(P, T) values with effects of people and of targets, and noise of their own; their mean is 0."""
    of_people, of_targets, noise = effects
    return (
        of_people * rng.standard_normal((people, 1))
        + of_targets * rng.standard_normal((1, targets))
        + noise * rng.standard_normal((people, targets))
    )


def interval_of_mean(values, seed=0, targets=True):
    people, count = values.shape
    person, target = np.repeat(np.arange(people), count), np.tile(np.arange(count), people)
    flat = values.ravel()
    return bootstrap_over_identities(
        lambda w: (w @ flat) / w.sum(1), person, targets=target if targets else None, replicates=300, seed=seed
    )


def test_two_levels_cover_where_people_alone_do_not():
    """Targets that differ from each other: intervals that resample people alone are far too narrow."""
    rng = np.random.default_rng(5)
    covered = {True: 0, False: 0}
    for trial in range(150):
        values = crossed(rng)
        for both in covered:
            found = interval_of_mean(values, trial, both)
            covered[both] += found.low <= 0 <= found.high
    assert covered[True] >= 0.92 * 150
    assert covered[False] < 0.85 * 150


def test_replicates_of_targets_are_paired_between_statistics():
    """Two entries of as many targets see the same people and the same targets: their difference has little noise."""
    values = crossed(np.random.default_rng(1))
    person, target = np.repeat(np.arange(60), 8), np.tile(np.arange(8), 60)

    def mean_of(numbers):
        flat = numbers.ravel()
        found = bootstrap_many(lambda w: {"mean": (w @ flat) / w.sum(1)}, person, targets=target, replicates=100, seed=3)
        return found["mean"].replicates

    one, other = mean_of(values), mean_of(values + 0.1)
    np.testing.assert_allclose(other - one, 0.1)


def test_targets_must_fit():
    with pytest.raises(FaceVeilError, match="targets"):
        bootstrap_many(lambda w: {"x": w.sum(1)}, [1, 2, 3], targets=[0, 1], seed=0)
