from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from benchmark.interfaces import FaceVeilError
from benchmark.metrics.empirical_epsilon import one_run_bound
from benchmark.metrics.gaussian_epsilon import (
    gaussian_delta,
    gaussian_epsilon,
    gaussian_mu,
    gaussian_one_run_bound,
    gaussian_p_value,
)
from defenses.private.accounting import epsilon_prv

DELTA = 1e-5


def gaussian_scores(rng, canaries, mu):
    coin = rng.random(canaries) < 0.5
    return rng.normal(size=canaries) + mu * coin, coin


# The curve


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.5])
def test_epsilon_is_that_of_the_accountants(mu):
    epsilon = gaussian_epsilon(mu, DELTA)
    assert gaussian_delta(epsilon, mu) == pytest.approx(DELTA, rel=1e-6)
    assert epsilon <= epsilon_prv(1.0, 1 / mu, 1, DELTA) <= epsilon + 0.03
    common = pytest.importorskip("dp_accounting.pld.privacy_loss_distribution", reason="needs dp-accounting")
    assert common.from_gaussian_mechanism(1 / mu).get_epsilon_for_delta(DELTA) == pytest.approx(epsilon, abs=2e-3)


def test_a_mechanism_of_mu_1_has_epsilon_4_38():
    assert gaussian_epsilon(1.0, DELTA) == pytest.approx(4.377, abs=1e-3)
    assert gaussian_epsilon(0.0, DELTA) == 0
    assert gaussian_epsilon(1e-6, DELTA) == 0, "delta alone covers it"
    with pytest.raises(FaceVeilError, match="between 0 and 1"):
        gaussian_epsilon(1.0, 0.0)


# The tail


@pytest.mark.parametrize(("canaries", "guesses"), [(100, 20), (60, 30), (40, 40), (50, 49)])
def test_the_p_value_is_the_rate_of_simulated_audits(canaries, guesses):
    rng, mu, runs = np.random.default_rng(7), 1.2, 20_000
    coin = rng.random((runs, canaries)) < 0.5
    odds = mu * (rng.normal(size=coin.shape) + mu * coin) - mu * mu / 2
    surest = np.argsort(-np.abs(odds), axis=1)[:, :guesses]
    wrong = (np.take_along_axis(odds > 0, surest, 1) != np.take_along_axis(coin, surest, 1)).sum(1)
    for errors in np.quantile(wrong, [0.02, 0.2, 0.5, 0.9]).astype(int):
        simulated = (wrong <= errors).mean()
        assert gaussian_p_value(int(errors), guesses, canaries, mu=mu) == pytest.approx(simulated, abs=0.012)


def test_more_mu_and_fewer_errors_are_rarer_together():
    at = [gaussian_p_value(5, 50, 200, mu=mu) for mu in (0.1, 0.5, 1.0, 2.0, 6.0)]
    assert at == sorted(at)
    assert gaussian_p_value(50, 50, 200, mu=1.0) == pytest.approx(1.0, abs=1e-6)


def test_more_right_guesses_never_show_less():
    found = [gaussian_mu(right, 60, 120) for right in range(0, 61, 5)]
    assert found == sorted(found)
    assert found[6] == 0
    assert gaussian_mu(0, 0, 10) == 0
    with pytest.raises(FaceVeilError, match="at most the next"):
        gaussian_mu(3, 2, 10)


# Scores


@pytest.mark.parametrize(("canaries", "expected"), [(300, 2.8), (1000, 3.3)])
def test_a_gaussian_mechanism_is_nearly_found(canaries, expected):
    """The truth is 4.38: the median audit reaches at least ``expected``, three times what (epsilon, delta) alone shows."""
    rng = np.random.default_rng(1)
    audits = [gaussian_scores(rng, canaries, 1.0) for _ in range(20)]
    found = [gaussian_one_run_bound(*audit, delta=DELTA).epsilon for audit in audits]
    weaker = [one_run_bound(*audit, delta=DELTA).epsilon for audit in audits]
    assert expected - 0.05 < np.median(found) < 4.38
    assert np.median(found) > 2 * np.median(weaker)
    assert sum(epsilon > 4.38 for epsilon in found) <= 4  # 5 % of 20, and three deviations


def test_scores_without_information_rarely_show_anything():
    rng = np.random.default_rng(2)
    wrong = sum(gaussian_one_run_bound(*gaussian_scores(rng, 120, 0.0), delta=DELTA).epsilon > 0 for _ in range(100))
    assert wrong <= 12  # 5 % of 100, and three deviations


def test_perfect_scores_reach_the_ceiling_and_no_more():
    coin = np.random.default_rng(3).permutation(np.arange(200) % 2 == 0)
    found = gaussian_one_run_bound(coin.astype(float), coin, delta=DELTA)
    assert found.epsilon == pytest.approx(found.ceiling)
    assert found.n == 200
    assert "mu-GDP" in found.hypothesis


def test_the_hypothesis_is_needed():
    """A mechanism that tells all canaries in some runs is no worse than mu-GDP for one canary, and yet the bound exceeds it.

    In one run of eight every coin passes through a channel of epsilon 2, else none does.  For one canary that is dominated
    by mu = 1 (checked on its trade-off curve); the audit of such a lucky run claims more.
    """
    share, epsilon, mu = 1 / 8, 2.0, 1.0
    alarms = np.linspace(0, 1, 2001)
    channel = np.maximum.reduce([np.zeros_like(alarms), 1 - np.exp(epsilon) * alarms, np.exp(-epsilon) * (1 - alarms)])
    split = np.linspace(0, 1, 201)  # the best test spends its alarms unevenly over the two kinds of run
    misses = np.array(
        [
            min(
                share * np.interp(min(1, a * s / share), alarms, channel)
                + (1 - share) * (1 - min(1, a * (1 - s) / (1 - share)))
                for s in split
            )
            for a in alarms[::50]
        ]
    )
    assert (misses >= norm.cdf(norm.ppf(1 - alarms[::50]) - mu) - 1e-9).all(), "mu-GDP for one canary"
    rng = np.random.default_rng(4)
    coin = rng.random(1000) < 0.5
    flipped = rng.random(1000) < 1 / (1 + np.exp(epsilon))
    lucky = gaussian_one_run_bound(np.where(coin ^ flipped, 1.0, 0.0) + rng.normal(0, 1e-3, 1000), coin, delta=DELTA)
    assert lucky.epsilon > gaussian_epsilon(mu, DELTA), "in one run of eight, not in one of twenty"
