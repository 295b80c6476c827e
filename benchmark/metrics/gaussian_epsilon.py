"""The one-run audit under the hypothesis that the training is Gaussian-differentially private (mu-GDP).

A training is mu-GDP where telling whether a canary was trained on is no easier than telling N(mu, 1) from N(0, 1) (Dong, Roth
and Su 2019).  Under that hypothesis the log-odds of a canary's coin are L = mu y - mu^2 / 2, and among the r canaries of
largest |L| the share of wrong guesses is that of the Gaussian pair beyond a threshold whose position is an order statistic
(Xiang et al. 2025, arXiv 2509.08704).  The largest mu at which so few errors are still improbable becomes epsilon by the
Gaussian's own curve.

The hypothesis is stronger than (epsilon, delta)-DP, and so is the bound.  It does not cover shared luck: a mechanism that lets
*all* canaries be told in one run out of ten is wrong about all of them at once, while errors here are taken for independent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit, log_ndtr, ndtr, roots_legendre
from scipy.stats import beta, binom

from benchmark.interfaces import FaceVeilError
from benchmark.metrics.empirical_epsilon import GUESSES, LowerBound, right_guesses
from benchmark.metrics.intervals import LEVEL

HYPOTHESIS = "the training is mu-GDP, and canaries neither interact nor share their luck"
_LARGEST_MU = 64.0  # no number of canaries reaches it
_LEAST_MU = 1e-4
_NODES, _WEIGHTS = roots_legendre(48)
_TAIL = 1e-10  # of the order statistic, cut off on both sides


def gaussian_delta(epsilon: float, mu: float) -> float:
    """delta(epsilon) of a mu-GDP mechanism: Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu) (Dong et al., eq. 6)."""
    if mu <= 0:
        return 0.0
    return float(ndtr(mu / 2 - epsilon / mu) - np.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The epsilon at ``delta`` of a mu-GDP mechanism; 0 where delta alone covers it.

    Raises:
        FaceVeilError: a delta that is not between 0 and 1; at delta 0 no Gaussian mechanism has an epsilon.
    """
    if not 0 < delta < 1:
        raise FaceVeilError(f"a Gaussian mechanism has an epsilon only at a delta between 0 and 1, not at {delta}.")
    if mu <= 0 or gaussian_delta(0.0, mu) <= delta:
        return 0.0
    high = 1.0
    while gaussian_delta(high, mu) > delta:
        high *= 2
    return float(brentq(lambda epsilon: gaussian_delta(epsilon, mu) - delta, 0.0, high, xtol=1e-9))


def gaussian_p_value(wrong: int, guesses: int, canaries: int, *, mu: float) -> float:
    """Probability that at most ``wrong`` of the ``guesses`` surest guesses about ``canaries`` fair coins are wrong, at mu.

    Given the (r+1)-th largest |L| = t of m canaries, those above are independent draws with |L| > t, so their errors are
    Bin(r, Phi(-mu/2 - t/mu) / q(t)), q(t) = Phi(mu/2 - t/mu) + Phi(-mu/2 - t/mu); and q(t) follows Beta(r + 1, m - r).  With
    guesses about all canaries the errors are Bin(m, Phi(-mu/2)).
    """
    if guesses == canaries:
        return float(binom.cdf(wrong, guesses, ndtr(-mu / 2)))
    low, high = beta.ppf((_TAIL, 1 - _TAIL), guesses + 1, canaries - guesses)
    share = low + (high - low) * (_NODES + 1) / 2
    steps = _thresholds(share, mu) / mu
    error = expit(log_ndtr(-mu / 2 - steps) - log_ndtr(mu / 2 - steps))
    weight = _WEIGHTS * (high - low) / 2 * beta.pdf(share, guesses + 1, canaries - guesses)
    return float(min(1.0, (weight * binom.cdf(wrong, guesses, error)).sum()))


def _thresholds(share: np.ndarray, mu: float) -> np.ndarray:
    """The t with P[|L| > t] = ``share``, (n,), by bisection."""
    low, high = np.zeros_like(share), np.full_like(share, mu * mu / 2 + 40 * mu)
    for _ in range(50):
        middle = (low + high) / 2
        above = ndtr(mu / 2 - middle / mu) + ndtr(-mu / 2 - middle / mu) > share
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    result: np.ndarray = (low + high) / 2
    return result


def gaussian_mu(right: int, guesses: int, canaries: int, *, tests: int = 1, confidence: float = LEVEL) -> float:
    """The largest mu at which so many right guesses are still less likely than 1 - ``confidence``; 0 where there is none.

    Raises:
        FaceVeilError: counts that are no counts.
    """
    if not 0 <= right <= guesses <= canaries or canaries == 0:
        raise FaceVeilError(f"{right} right of {guesses} guesses about {canaries} canaries: each may be at most the next.")
    error = (1 - confidence) / tests

    def excess(mu: float) -> float:
        return gaussian_p_value(guesses - right, guesses, canaries, mu=mu) - error

    if guesses == 0 or excess(_LEAST_MU) > 0:
        return 0.0
    return float(brentq(excess, _LEAST_MU, _LARGEST_MU, xtol=1e-4))


def gaussian_one_run_bound(scores: ArrayLike, included: ArrayLike, *, delta: float, confidence: float = LEVEL) -> LowerBound:
    """The mu-GDP bound of the best of a few ways to guess, all of them paid for: those of the (epsilon, delta) one-run bound.

    Args:
        scores: (m,) one a canary, higher = rather included.
        included: (m,) bool, how the coins fell.
        delta: above 0, at which epsilon is given.
    """
    ways, n = right_guesses(scores, included), len(np.asarray(scores))
    tests = len(GUESSES)
    found = [(gaussian_mu(right, made, n, tests=tests, confidence=confidence), right, made) for right, made in ways]
    mu, right, made = max(found)
    ceiling = gaussian_epsilon(gaussian_mu(n, n, n, tests=tests, confidence=confidence), delta)
    detail = f"mu {mu:.3f}; {right} of {made} guesses right; best of {tests} ways to guess"
    return LowerBound(gaussian_epsilon(mu, delta), delta, ceiling, n, "gaussian_one_run", detail, HYPOTHESIS, confidence)
