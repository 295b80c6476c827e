"""Empirical epsilon: the lower bound of what a training leaks, measured on canaries that a fair coin put in or left out.

Each bound carries the ceiling that its number of canaries allows, were the attack never wrong, and the hypothesis under which
it holds:

- Clopper-Pearson on the true and false positive rates at a few thresholds (Nasr et al. 2021).  It takes canaries for
  independent, which those of one training run are only where they do not interact;
- the one-run bound (Steinke, Nasr and Jagielski 2023, theorem 5.2), which holds for canaries of one run whatever they do to
  each other;
- the one-run bound of a Gaussian training, in :mod:`benchmark.metrics.gaussian_epsilon`.

Neighbouring data sets differ in one canary (added or removed), so a bound is in the canary's unit: photo or person.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom

from benchmark.interfaces import FaceVeilError
from benchmark.metrics.intervals import LEVEL, clopper_pearson

Floats = NDArray[np.float64]

# Shares of all canaries that score at least the threshold: ranks, so that no threshold depends on a coin.
THRESHOLD_SHARES = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
# Share of the canaries guessed about, and whether the lowest are guessed out as the highest are guessed in.
GUESSES = ((1.0, "both"), (0.5, "both"), (0.2, "both"), (0.2, "top"))
INDEPENDENT = "the canaries of this run do not influence each other"
NOTHING = "none beyond fair coins"
_LARGEST = 64.0  # no number of canaries reaches this epsilon


@dataclass(frozen=True)
class LowerBound:
    """Every claim below this ``epsilon`` is refuted with ``confidence``; ``ceiling`` is the most that ``n`` canaries show.

    It is refuted under ``hypothesis``: where that fails, the bound says nothing.
    """

    epsilon: float
    delta: float
    ceiling: float
    n: int
    method: Literal["clopper_pearson", "one_run", "gaussian_one_run"]
    detail: str
    hypothesis: str
    confidence: float = LEVEL


def epsilon_of_rates(tpr: float, fpr: float, delta: float) -> float:
    """The least epsilon of an (epsilon, delta)-DP mechanism that allows these rates (Kairouz et al. 2015, theorem 2.1)."""
    both = [(tpr - delta, fpr), (1 - fpr - delta, 1 - tpr)]
    return max([0.0, *(math.log(high / low) if low > 0 else math.inf for high, low in both if high > 0)])


def clopper_pearson_epsilon(
    hits: int, included: int, alarms: int, excluded: int, *, delta: float, tests: int = 1, confidence: float = LEVEL
) -> float:
    """Lower bound from one threshold: ``hits`` of the canaries included, and ``alarms`` of those left out, score above it.

    The error probability is shared by the bounds of the two rates and by all ``tests`` (Bonferroni).

    Raises:
        FaceVeilError: counts that are no counts, or a delta out of range.
    """
    if not (0 <= hits <= included and 0 <= alarms <= excluded and included > 0 and excluded > 0):
        raise FaceVeilError(
            f"{hits} of {included} canaries included and {alarms} of {excluded} left out: an audit needs both kinds."
        )
    _check_delta(delta)
    level = 1 - (1 - confidence) / tests
    tpr = clopper_pearson(hits, included, level)[0]
    fpr = clopper_pearson(alarms, excluded, level)[1]
    return epsilon_of_rates(tpr, fpr, delta) if tpr > fpr else 0.0


def threshold_bound(scores: ArrayLike, included: ArrayLike, *, delta: float, confidence: float = LEVEL) -> LowerBound:
    """The Clopper-Pearson bound of the best of a few thresholds, all of them paid for.

    Args:
        scores: (m,) one a canary, higher = rather included.
        included: (m,) bool, how the coins fell.
    """
    score, coin = _checked(scores, included)
    ranked = np.sort(score)[::-1]
    above = [min(len(score), max(1, round(share * len(score)))) for share in THRESHOLD_SHARES]
    thresholds = sorted({float(ranked[count - 1]) for count in above}, reverse=True)
    tests, n, out = len(THRESHOLD_SHARES), int(coin.sum()), int((~coin).sum())
    if n == 0 or out == 0:  # the coins all fell alike: nothing to compare
        return LowerBound(0.0, delta, 0.0, len(score), "clopper_pearson", "every coin fell alike", INDEPENDENT, confidence)
    found = [
        (
            clopper_pearson_epsilon(
                int((score[coin] >= t).sum()), n, int((score[~coin] >= t).sum()), out,
                delta=delta, tests=tests, confidence=confidence,
            ),
            t,
        )
        for t in thresholds
    ]  # fmt: skip
    epsilon, threshold = max(found)
    ceiling = clopper_pearson_epsilon(n, n, 0, out, delta=delta, tests=tests, confidence=confidence)
    caught = (
        f"{int((score[coin] >= threshold).sum())} of {n} included, {int((score[~coin] >= threshold).sum())} of {out} left out"
    )
    return LowerBound(
        epsilon, delta, ceiling, len(score), "clopper_pearson", f"{caught}; best of {tests} thresholds", INDEPENDENT, confidence
    )


def one_run_p_value(right: int, guesses: int, canaries: int, *, epsilon: float, delta: float) -> float:
    """Probability that an (epsilon, delta)-DP training lets anyone guess ``right`` or more coins of ``guesses`` right.

    P[X >= v] + 2 m delta max_i P[v - i <= X < v] / i with X ~ Bin(r, e^epsilon / (1 + e^epsilon)), for m canaries
    (Steinke et al. 2023, theorem 5.2).
    """
    accuracy = float(expit(epsilon))
    tail = float(binom.sf(right - 1, guesses, accuracy))
    if delta == 0 or right == 0:
        return min(1.0, tail)
    below = np.cumsum(binom.pmf(np.arange(right - 1, -1, -1), guesses, accuracy))  # P[v - i <= X < v], i = 1 .. v
    return min(1.0, tail + 2 * canaries * delta * float((below / np.arange(1, right + 1)).max()))


def one_run_epsilon(
    right: int, guesses: int, canaries: int, *, delta: float, tests: int = 1, confidence: float = LEVEL
) -> float:
    """The largest epsilon at which so many right guesses are still less likely than 1 - ``confidence``; 0 where there is none.

    Raises:
        FaceVeilError: counts that are no counts, or a delta out of range.
    """
    if not 0 <= right <= guesses <= canaries or canaries == 0:
        raise FaceVeilError(f"{right} right of {guesses} guesses about {canaries} canaries: each may be at most the next.")
    _check_delta(delta)
    error = (1 - confidence) / tests

    def excess(epsilon: float) -> float:
        return one_run_p_value(right, guesses, canaries, epsilon=epsilon, delta=delta) - error

    if guesses == 0 or excess(0.0) > 0:
        return 0.0
    return float(brentq(excess, 0.0, _LARGEST, xtol=1e-6))


def one_run_bound(scores: ArrayLike, included: ArrayLike, *, delta: float, confidence: float = LEVEL) -> LowerBound:
    """The one-run bound of the best of a few ways to guess, all of them paid for.

    Args:
        scores: (m,) one a canary, higher = rather included.
        included: (m,) bool, how the coins fell.
    """
    found = []
    ways, n = right_guesses(scores, included), len(np.asarray(scores))
    for right, guesses in ways:
        epsilon = one_run_epsilon(right, guesses, n, delta=delta, tests=len(GUESSES), confidence=confidence)
        found.append((epsilon, right, guesses))
    epsilon, right, guesses = max(found)
    ceiling = one_run_epsilon(n, n, n, delta=delta, tests=len(GUESSES), confidence=confidence)
    detail = f"{right} of {guesses} guesses right; best of {len(GUESSES)} ways to guess"
    return LowerBound(epsilon, delta, ceiling, n, "one_run", detail, NOTHING, confidence)


def right_guesses(scores: ArrayLike, included: ArrayLike) -> list[tuple[int, int]]:
    """For each way to guess of ``GUESSES``, how many guesses are right and how many are made.

    A way guesses "in" for the highest scores and, unless it is ``top``, "out" for as many of the lowest, and abstains on
    the rest.  Ties are broken by position, which no coin decides.

    Args:
        scores: (m,) one a canary, higher = rather included.
        included: (m,) bool, how the coins fell.
    """
    score, coin = _checked(scores, included)
    order = np.argsort(-score, kind="stable")
    ways = []
    for share, side in GUESSES:
        guesses = max(1, round(share * len(score)))
        high = guesses if side == "top" else (guesses + 1) // 2
        low = order[len(order) - (guesses - high) :]
        ways.append((int(coin[order[:high]].sum() + (~coin[low]).sum()), guesses))
    return ways


def _checked(scores: ArrayLike, included: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    score, coin = np.asarray(scores, np.float64), np.asarray(included).astype(bool)
    if score.ndim != 1 or score.shape != coin.shape or len(score) == 0:
        raise FaceVeilError(f"scores {score.shape} and coins {coin.shape} must both be (m,), one a canary, and not empty.")
    if not np.isfinite(score).all():
        raise FaceVeilError(f"{int((~np.isfinite(score)).sum())} of {len(score)} canary scores are not finite.")
    return score, coin


def _check_delta(delta: float) -> None:
    if not 0 <= delta < 1:
        raise FaceVeilError(f"delta must be 0 or more and below 1, not {delta}.")
