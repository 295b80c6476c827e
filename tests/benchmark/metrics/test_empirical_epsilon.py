from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from benchmark.interfaces import FaceVeilError
from benchmark.metrics.empirical_epsilon import (
    GUESSES,
    THRESHOLD_SHARES,
    clopper_pearson_epsilon,
    epsilon_of_rates,
    one_run_bound,
    one_run_epsilon,
    one_run_p_value,
    threshold_bound,
)
from defenses.private.accounting import epsilon_prv

# One threshold


def test_the_ceiling_of_a_thousand_and_a_thousand():
    assert clopper_pearson_epsilon(1000, 1000, 0, 1000, delta=0) == pytest.approx(5.60, abs=0.005)


def test_agrees_with_privacy_estimates():
    """Their interval of one side at 5 % gives each rate 2.5 %, as ours does."""
    oracle = pytest.importorskip("privacy_estimates", exc_type=ImportError, reason="needs privacy-estimates")
    rng = np.random.default_rng(0)
    for _ in range(40):
        included, excluded = rng.integers(20, 400, 2)
        hits, alarms = rng.binomial(included, rng.uniform(0.4, 1)), rng.binomial(excluded, rng.uniform(0, 0.4))
        delta = float(rng.choice([0, 1e-5, 1e-3]))
        count = oracle.AttackResults(TP=hits, FN=included - hits, FP=alarms, TN=excluded - alarms)
        theirs = oracle.compute_eps_lo(count, delta, 0.05, "beta")
        ours = clopper_pearson_epsilon(int(hits), int(included), int(alarms), int(excluded), delta=delta)
        assert ours == pytest.approx(max(0.0, theirs), abs=1e-6)


def test_rates_of_the_gaussian_mechanism_never_need_more_than_its_epsilon():
    """dp-accounting's epsilon covers every threshold of the optimal test, and some threshold comes close to it."""
    common = pytest.importorskip("dp_accounting.pld.privacy_loss_distribution", reason="needs dp-accounting")
    delta = 1e-3
    upper = common.from_gaussian_mechanism(1.0).get_epsilon_for_delta(delta)
    needed = [epsilon_of_rates(norm.sf(t - 1), norm.sf(t), delta) for t in np.linspace(-6, 7, 400)]
    assert upper - 0.05 < max(needed) <= upper + 0.01


def test_more_tests_cost_and_delta_costs():
    one = clopper_pearson_epsilon(90, 100, 5, 100, delta=0)
    assert clopper_pearson_epsilon(90, 100, 5, 100, delta=0, tests=10) < one
    assert clopper_pearson_epsilon(90, 100, 5, 100, delta=0.05) < one
    assert clopper_pearson_epsilon(95, 100, 10, 100, delta=0) == pytest.approx(one), "both directions count alike"


def test_a_guess_that_is_no_better_than_the_coin_shows_nothing():
    assert clopper_pearson_epsilon(52, 100, 48, 100, delta=0) == 0
    assert clopper_pearson_epsilon(5, 100, 90, 100, delta=0) == 0, "reversed scores are no evidence for membership"


@pytest.mark.parametrize("counts", [(5, 4, 0, 4), (0, 0, 0, 4), (1, 4, 5, 4), (-1, 4, 0, 4)])
def test_counts_that_are_none_are_refused(counts):
    with pytest.raises(FaceVeilError, match="both kinds"):
        clopper_pearson_epsilon(*counts, delta=0)


# One run


@pytest.mark.parametrize(("right", "epsilon"), [(1000, 5.81), (900, 2.02), (750, 0.98), (600, 0.30)])
def test_the_figures_of_a_thousand_guesses(right, epsilon):
    assert one_run_epsilon(right, 1000, 1000, delta=0) == pytest.approx(epsilon, abs=0.005)


def naive_p_value(right: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    """Every probability summed by hand."""
    q = math.exp(epsilon) / (1 + math.exp(epsilon))
    mass = [math.comb(guesses, k) * q**k * (1 - q) ** (guesses - k) for k in range(guesses + 1)]
    beta = sum(mass[right:])
    alpha = max((sum(mass[right - i : right]) / i for i in range(1, right + 1)), default=0.0)
    return min(1.0, beta + 2 * canaries * delta * alpha)


@pytest.mark.parametrize(("right", "guesses", "canaries"), [(0, 5, 9), (4, 5, 5), (30, 40, 100), (40, 40, 40)])
@pytest.mark.parametrize("delta", [0.0, 1e-4, 0.01])
def test_the_p_value_is_that_of_a_naive_sum(right, guesses, canaries, delta):
    for epsilon in (0.0, 0.5, 3.0):
        ours = one_run_p_value(right, guesses, canaries, epsilon=epsilon, delta=delta)
        assert ours == pytest.approx(naive_p_value(right, guesses, canaries, epsilon, delta), abs=1e-9)


def test_the_bound_sits_where_the_p_value_crosses():
    for delta in (0.0, 1e-4):
        epsilon = one_run_epsilon(80, 100, 200, delta=delta)
        assert naive_p_value(80, 100, 200, epsilon, delta) == pytest.approx(0.05, abs=1e-4)
    assert one_run_epsilon(80, 100, 200, delta=1e-4) < one_run_epsilon(80, 100, 200, delta=0)


def test_more_right_guesses_never_show_less():
    found = [one_run_epsilon(right, 60, 60, delta=1e-5) for right in range(61)]
    assert found[30] == 0
    assert all(a <= b for a, b in pairwise(found))


def test_too_few_guesses_show_nothing():
    assert one_run_epsilon(0, 0, 10, delta=0) == 0
    assert one_run_epsilon(3, 3, 3, delta=0) == 0, "three coins fall right one time in eight"
    with pytest.raises(FaceVeilError, match="at most the next"):
        one_run_epsilon(3, 2, 10, delta=0)
    with pytest.raises(FaceVeilError, match="delta"):
        one_run_epsilon(3, 3, 10, delta=1.0)


# Scores


def gaussian_scores(rng, canaries, shift):
    coin = rng.random(canaries) < 0.5
    return rng.normal(size=canaries) + shift * coin, coin


@pytest.mark.parametrize("bound", [threshold_bound, one_run_bound])
def test_perfect_scores_reach_nearly_the_ceiling_and_no_more(bound):
    coin = np.random.default_rng(0).random(400) < 0.5
    found = bound(np.where(coin, 1.0, 0.0) + np.linspace(0, 0.1, 400), coin, delta=0)
    assert 0.6 * found.ceiling < found.epsilon <= found.ceiling
    assert found.n == 400
    again = bound(np.where(coin, 5.0, 0.0), coin, delta=0)
    assert again.epsilon <= again.ceiling, "two values only: all equal scores move together"


@pytest.mark.parametrize("bound", [threshold_bound, one_run_bound])
def test_scores_without_information_rarely_show_anything(bound):
    """A bound above 0 where there is nothing is wrong; at 95 % at most one in twenty may be."""
    rng = np.random.default_rng(1)
    wrong = sum(bound(*gaussian_scores(rng, 120, 0.0), delta=0).epsilon > 0 for _ in range(200))
    assert wrong <= 18  # 5 % of 200, and three deviations


@pytest.mark.parametrize("bound", [threshold_bound, one_run_bound])
def test_bounds_of_a_mechanism_with_a_known_epsilon_hold(bound):
    """Each canary's coin is seen through Gaussian noise: the accountant's epsilon is above the bound, almost always."""
    rng = np.random.default_rng(2)
    delta = 1e-5
    upper = epsilon_prv(1.0, 1.0, 1, delta)
    found = [bound(*gaussian_scores(rng, 600, 1.0), delta=delta).epsilon for _ in range(40)]
    assert sum(epsilon > upper for epsilon in found) <= 4
    assert np.median(found) > 0.3


def test_every_way_to_guess_is_paid_for():
    coin = np.arange(200) % 2 == 0
    found = one_run_bound(coin.astype(float), coin, delta=0)
    assert found.epsilon == pytest.approx(one_run_epsilon(200, 200, 200, delta=0, tests=len(GUESSES)))
    found = threshold_bound(coin.astype(float), coin, delta=0)
    assert found.epsilon == pytest.approx(clopper_pearson_epsilon(100, 100, 0, 100, delta=0, tests=len(THRESHOLD_SHARES)))


def test_a_few_loud_canaries_among_silent_ones_are_heard():
    """Abstaining pays: a tenth of those included stand out, of the rest nothing is known."""
    rng = np.random.default_rng(3)
    coin = rng.random(600) < 0.5
    loud = coin & (rng.random(600) < 0.2)
    found = one_run_bound(rng.normal(size=600) + 10 * loud, coin, delta=0)
    assert found.epsilon > 0.5
    assert "of 120 guesses" in found.detail


def test_useless_input_is_refused_or_shows_nothing():
    assert threshold_bound([1.0, 2.0], [True, True], delta=0).epsilon == 0
    with pytest.raises(FaceVeilError, match="not finite"):
        one_run_bound([np.nan, 1.0], [True, False], delta=0)
    with pytest.raises(FaceVeilError, match="not empty"):
        one_run_bound([], [], delta=0)
    for bound in (threshold_bound, one_run_bound):
        assert (
            bound(np.zeros(50), np.arange(50) < 25, delta=0).epsilon <= bound(np.zeros(50), np.arange(50) < 25, delta=0).ceiling
        )
