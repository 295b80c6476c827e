from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm as gaussian
from scipy.stats import t as student

from attacks.shared import shadow_calibration
from attacks.shared.shadow_calibration import bavaria, lira, rmia, worlds
from benchmark.metrics.roc import auc


def population(photos: int, shadows: int, *, gap: float = 1.0, noise: float = 1.0, seed: int = 0):
    """Scores = how easy the photo is (spread 2) + gap where it was inside + noise; half of the shadows hold each photo."""
    rng = np.random.default_rng(seed)
    ease = 2 * rng.standard_normal(photos)
    inside = np.zeros((shadows, photos), bool)
    for k in range(0, shadows, 2):
        inside[k] = rng.random(photos) < 0.5
        if k + 1 < shadows:
            inside[k + 1] = ~inside[k]
    labels = rng.random(photos) < 0.5
    scores = ease + gap * inside + noise * rng.standard_normal(inside.shape)
    return ease + gap * labels + noise * rng.standard_normal(photos), scores, inside, labels


def naive_lira(target, shadows, inside):
    """The attack by its definition: a Gaussian for each photo and world, deviations pooled over photos."""
    pooled = []
    for world in (inside, ~inside):
        squares = sum(((s[m] - s[m].mean()) ** 2).sum() for s, m in zip(shadows.T, world.T, strict=True))
        pooled.append(math.sqrt(squares / (world.sum(0) - 1).sum()))
    scores = []
    for i, value in enumerate(target):
        own, other = shadows[inside[:, i], i].mean(), shadows[~inside[:, i], i].mean()
        scores.append(gaussian.logpdf(value, own, pooled[0]) - gaussian.logpdf(value, other, pooled[1]))
    return np.array(scores)


def test_with_many_shadows_lira_is_the_naive_one():
    target, shadows, inside, _ = population(60, 400)
    np.testing.assert_allclose(lira(target, shadows, inside), naive_lira(target, shadows, inside), atol=0.15)


@pytest.mark.parametrize(("shadows", "least"), [(1, 0.60), (2, 0.63), (4, 0.66), (16, 0.70)])
def test_calibration_pays_from_the_first_shadow_on(shadows, least):
    """Uncalibrated the gap of 1 drowns in a spread of 2.2; with the ease of each photo known it would reach 0.76."""
    target, scores, inside, labels = population(6000, shadows)
    assert auc(target, labels) < 0.63
    for rule in (lira, rmia, bavaria):
        assert auc(rule(target, scores, inside), labels) > least, rule.__name__


def test_offline_shadows_say_how_easy_a_photo_is():
    target, scores, inside, labels = population(6000, 8)
    scores = scores - 1.0 * inside  # as if none had any photo inside
    nothing = np.zeros_like(inside)
    for rule in (lira, rmia, bavaria):
        assert auc(rule(target, scores, nothing), labels) > auc(target, labels) + 0.08, rule.__name__
    assert worlds(scores, nothing).offline


def test_shadows_that_say_nothing_of_a_photo_are_left_out():
    target, scores, inside, labels = population(4000, 8)
    scores[np.random.default_rng(1).random(scores.shape) < 0.3] = np.nan
    found = lira(target, scores, inside)
    assert np.isfinite(found).all()
    assert auc(found, labels) > 0.66


def test_means_shrink_to_the_population_where_shadows_are_few():
    _, scores, inside, _ = population(4000, 2, noise=3.0)
    few = worlds(scores, inside)
    raw = np.where(inside[0], scores[1], scores[0])  # the one shadow without the photo
    assert np.std(few.mean_out) < 0.7 * np.std(raw)
    assert (few.deviation_out > 3.0).all(), "what is uncertain of the mean is in the deviation"


def test_worlds_are_the_gaussian_conditional():
    """Against solving two equations a photo: prior covariance of the two means, noise of the two averages."""
    _, scores, inside, _ = population(300, 3)
    found = worlds(scores, inside)
    mean_in, count_in, noise_in = shadow_calibration._means(scores, inside)
    mean_out, count_out, noise_out = shadow_calibration._means(scores, ~inside)
    centre_in, spread_in = shadow_calibration._population(mean_in, count_in, noise_in)
    centre_out, spread_out = shadow_calibration._population(mean_out, count_out, noise_out)
    shared = shadow_calibration._covariance(
        mean_in - centre_in, mean_out - centre_out, count_in, count_out, spread_in, spread_out
    )
    prior = np.array([[spread_in, shared], [shared, spread_out]])
    for photo in range(300):
        seen = np.array([count_in[photo] > 0, count_out[photo] > 0])
        noise = np.array([noise_in / max(1, count_in[photo]), noise_out / max(1, count_out[photo])])
        observed = np.array([mean_in[photo] - centre_in, mean_out[photo] - centre_out])[seen]
        gain = np.linalg.solve((prior + np.diag(noise))[np.ix_(seen, seen)], prior[seen]).T
        mean, doubt = gain @ observed, np.diag(prior - gain @ prior[seen])
        np.testing.assert_allclose([found.mean_in[photo] - centre_in, found.mean_out[photo] - centre_out], mean, rtol=1e-6)
        np.testing.assert_allclose(
            [found.deviation_in[photo] ** 2 - noise_in, found.deviation_out[photo] ** 2 - noise_out], doubt, rtol=1e-6
        )


def test_without_a_leak_the_ratio_is_at_chance():
    target, scores, inside, labels = population(6000, 8, gap=0.0)
    for rule in (lira, rmia, bavaria):
        assert abs(auc(rule(target, scores, inside), labels) - 0.5) < 0.03


def test_rmia_on_a_matrix_computed_by_hand():
    probability = np.array([0.8, 0.5, 0.2])
    shadows = np.array([[0.9, 0.4, 0.3], [0.3, 0.4, 0.3]])  # the first holds every photo, the second none
    inside = np.array([[True] * 3, [False] * 3])
    # ratios to the mean of both worlds: 0.8 / 0.6 = 1.33, 0.5 / 0.4 = 1.25, 0.2 / 0.3 = 0.67
    np.testing.assert_allclose(rmia(np.log(probability), np.log(shadows), inside), [1.0, 0.5, 0.0])


def naive_rmia(p_target, p_shadows, inside, offline_a=0.3):
    """The attack by its definition, probabilities in and every pair compared: the share of z that x beats."""
    online = bool(inside.any())
    ratios = []
    for i, p in enumerate(p_target):
        p_out = sum(p_shadows[k, i] for k in range(len(p_shadows)) if not inside[k, i]) / (~inside[:, i]).sum()
        if online:
            p_in = sum(p_shadows[k, i] for k in range(len(p_shadows)) if inside[k, i]) / inside[:, i].sum()
            ratios.append(p / ((p_in + p_out) / 2))
        else:
            ratios.append(p / (((1 + offline_a) * p_out + 1 - offline_a) / 2))
    others = len(ratios) - 1
    return [sum(mine / theirs > 1 for j, theirs in enumerate(ratios) if j != i) / others for i, mine in enumerate(ratios)]


@pytest.mark.parametrize("online", [True, False])
def test_rmia_is_the_naive_one(online):
    target, scores, inside, _ = population(40, 6)
    if not online:
        inside = np.zeros_like(inside)
        scores = scores - np.median([math.log(np.mean(np.exp(s))) for s in scores.T])  # the unit of the offline mean
    naive = naive_rmia(np.exp(target), np.exp(scores), inside)
    np.testing.assert_allclose(rmia(target, scores, inside), naive)


def test_offline_rmia_by_hand():
    target = np.log([0.5, 0.4])
    shadows = np.log([[0.5, 0.1]])
    # in units of the median, 0.3: (1.3 * 1.67 + 0.7) / 2 = 1.43 and (1.3 * 0.33 + 0.7) / 2 = 0.57; ratios 1.16 and 2.35
    np.testing.assert_allclose(rmia(target, shadows, np.zeros((1, 2), bool)), [0.0, 1.0])


def test_ties_share_one_value():
    target, inside = np.zeros(4), np.array([[True] * 4, [False] * 4])
    assert rmia(target, np.zeros((2, 4)), inside).tolist() == [0.0] * 4


def test_temperature_changes_no_single_shadows_order():
    target, scores, inside, _ = population(50, 4)
    warm, cold = (rmia(target, scores, inside, temperature=t) for t in (1.0, 0.2))
    assert not np.allclose(warm, cold)
    assert ((warm >= 0) & (warm <= 1)).all()


def uneven(photos: int, shadows: int, seed: int = 0):
    """As ``population`` with a gap of 1.5, the photos' noise between a third and three times the usual."""
    rng = np.random.default_rng(seed)
    noise = np.exp(rng.uniform(-np.log(3), np.log(3), photos))
    ease = rng.standard_normal(photos)
    inside = rng.random((shadows, photos)) < 0.5
    labels = rng.random(photos) < 0.5
    scores = ease + 1.5 * inside + noise * rng.standard_normal(inside.shape)
    return ease + 1.5 * labels + noise * rng.standard_normal(photos), scores, inside, labels


def test_a_photo_s_own_variance_counts_where_photos_differ():
    target, scores, inside, labels = uneven(5000, 16)
    pooled, own = (auc(rule(target, scores, inside), labels) for rule in (lira, bavaria))
    print(f"one variance for all {pooled:.3f}, posteriors of their own {own:.3f}")
    assert own > pooled + 0.02


def test_where_photos_are_alike_nothing_is_lost():
    for shadows in (2, 4, 16):
        target, scores, inside, labels = population(5000, shadows)
        assert auc(bavaria(target, scores, inside), labels) > auc(lira(target, scores, inside), labels) - 0.005


def test_with_many_shadows_the_predictive_density_is_the_photo_s_own():
    """800 shadows outweigh any prior: the sample mean and variance of each world."""
    target, scores, inside, _ = uneven(50, 800)
    expected = []
    for i, value in enumerate(target):
        own, other = scores[inside[:, i], i], scores[~inside[:, i], i]
        expected.append(
            gaussian.logpdf(value, own.mean(), own.std(ddof=1)) - gaussian.logpdf(value, other.mean(), other.std(ddof=1))
        )
    np.testing.assert_allclose(bavaria(target, scores, inside), expected, atol=0.15, rtol=0.1)


def test_the_posterior_of_one_photo_by_hand():
    """Equal photos but for their means: the prior's variance is all but fixed, and the t is a Gaussian of known variance."""
    target, scores, inside, _ = population(3000, 4, gap=0.0)
    found = bavaria(target, scores, inside)
    w = worlds(scores, inside)
    close = gaussian.logpdf(target, w.mean_in, w.deviation_in) - gaussian.logpdf(target, w.mean_out, w.deviation_out)
    assert np.corrcoef(found, close)[0, 1] > 0.95
    assert student.logpdf(0.3, 2000) == pytest.approx(gaussian.logpdf(0.3), abs=1e-3)


def test_weights_of_one_change_nothing_and_weights_of_nought_leave_shadows_out():
    target, scores, inside, _ = population(500, 8)
    np.testing.assert_allclose(lira(target, scores, inside, np.ones(scores.shape)), lira(target, scores, inside))
    weights = np.ones(scores.shape)
    weights[4:] = 0
    np.testing.assert_allclose(lira(target, scores, inside, weights), lira(target, scores[:4], inside[:4]), rtol=1e-9)
