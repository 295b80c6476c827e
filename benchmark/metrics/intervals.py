"""95 % intervals by resampling people.

Photos of one person are not independent, so people are drawn with replacement, never photos: all photos of a person
carry the number of times that the person was drawn.  The draws are a pure function of the people (in sorted order), of
the classes that each has photos in, and of the seed: two statistics of one list of people under one seed see the same
resampled people, so their replicates are paired.  Fewer replicates are the first of the same sequence.

Where the same people are asked about under several targets (backbones of one population), both are drawn with replacement
and their counts multiply: the two-level bootstrap of crossed factors (Owen 2007, "The pigeonhole bootstrap"), whose
intervals are, if anything, slightly wide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtr, ndtri, stdtrit

from benchmark.interfaces import FaceVeilError

Floats = NDArray[np.float64]
Method = Literal["bca", "bc", "percentile", "clopper_pearson", "degenerate", "not_measurable"]

LEVEL = 0.95
_TARGET_STRATUM = 7919  # of the seed of targets' draws: apart from those of people
_CHUNK = 2**20  # floats of weights handed to a statistic at once (8 MB; a metric holds about five such arrays)


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval over ``n`` people.

    ``value`` is None where it is undefined (``not_measurable``).  A value other than 0 and 1 that no resampling changes is
    its own interval (``degenerate``), but has no bounds (None) where there is only one person.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: Method


@dataclass(frozen=True)
class Bootstrap:
    """An estimate with its replicates (R,); replicate b of every statistic of the same people and seed drew the same people."""

    estimate: Estimate
    replicates: Floats


def bootstrap_over_identities(
    statistic: Callable[[Floats], Floats],
    identities: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    replicates: int = 1000,
    seed: int,
) -> Estimate:
    """The interval of one statistic; see :func:`bootstrap_many`.  ``statistic`` maps weights (R, N) to values (R,)."""
    results = bootstrap_many(
        lambda weights: {"value": statistic(weights)},
        identities,
        labels=labels,
        targets=targets,
        replicates=replicates,
        seed=seed,
    )
    return results["value"].estimate


def bootstrap_many(
    statistics: Callable[[Floats], Mapping[str, Floats]],
    identities: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    replicates: int = 1000,
    seed: int,
) -> dict[str, Bootstrap]:
    """Intervals of several statistics of N photos that share every weight matrix.

    ``statistics`` maps photo weights (R, N) to named values (R,); it is called in chunks of R.  ``identities`` (N,) are
    people (int or str).  With boolean ``labels`` (N,), people are resampled within strata (those with positive photos only,
    with negative ones only, with both), so that no class vanishes.  With ``targets`` (N,), the backbone that each row is about,
    these are resampled, too.  Raises FaceVeilError for empty or ill-fitting input.
    """
    people, person = np.unique(np.asarray(identities), return_inverse=True)
    strata, trials = np.zeros(len(people), np.int64), len(people)
    if labels is not None:
        positive = np.asarray(labels).astype(bool)
        if positive.shape != person.shape:
            raise FaceVeilError(f"labels {positive.shape} and identities {person.shape} must both be (N,)")
        strata, trials = people_strata(person, positive)
    of_target = np.zeros(len(person), np.int64)
    if targets is not None:
        of_target = np.unique(np.asarray(targets), return_inverse=True)[1]
        if of_target.shape != person.shape:
            raise FaceVeilError(f"targets {of_target.shape} and identities {person.shape} must both be (N,)")

    def by_photo(counts: NDArray[np.float32], draws: NDArray[np.float32]) -> dict[str, Floats]:
        rows = max(1, _CHUNK // len(person))
        parts = [
            statistics(counts[i : i + rows, person].astype(np.float64) * draws[i : i + rows, of_target])
            for i in range(0, len(counts), rows)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    number = int(of_target.max(initial=0)) + 1
    return bootstrap_crossed(by_photo, strata, number, replicates=replicates, seed=seed, trials=trials)


def people_strata(person: NDArray[np.int64], positive: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Strata (P,) of people numbered 0..P-1 by the classes that they have photos in, and the smaller class's people.

    Args:
        person: (N,), positive: (N,) of the photos.
    """
    has_positive = np.bincount(person[positive], minlength=person.max(initial=-1) + 1) > 0
    has_negative = np.bincount(person[~positive], minlength=person.max(initial=-1) + 1) > 0
    return has_positive + 2 * has_negative, int(max(1, min(has_positive.sum(), has_negative.sum())))


def bootstrap_people(
    statistics: Callable[[NDArray[np.float32]], Mapping[str, Floats]],
    strata: ArrayLike,
    *,
    replicates: int,
    seed: int,
    trials: int | None = None,
    groups: int = 200,
) -> dict[str, Bootstrap]:
    """Intervals of statistics of P people under one target: :func:`bootstrap_crossed` of ``statistics(counts)``."""
    return bootstrap_crossed(
        lambda counts, _draws: statistics(counts), strata, 1, replicates=replicates, seed=seed, trials=trials, groups=groups
    )


def bootstrap_crossed(
    statistics: Callable[[NDArray[np.float32], NDArray[np.float32]], Mapping[str, Floats]],
    strata: ArrayLike,
    targets: int,
    *,
    replicates: int,
    seed: int,
    trials: int | None = None,
    groups: int = 200,
) -> dict[str, Bootstrap]:
    """Intervals of statistics of P people, resampled within ``strata`` (P,) int, under T ``targets``, resampled as well.

    ``statistics`` maps counts (K, P) and (K, T), how often each person and each target was drawn, to named values (K,); it is
    called once.  Row 0 is everything once: the value.  The interval is BCa (Efron 1987; strata joined as in Davison and
    Hinkley 1997, section 5.3, the targets being one more) with a jackknife over about ``groups`` groups of people and over
    targets; percentile where that is undefined; and, for a proportion, Clopper-Pearson with ``trials`` people (default: all
    of them) where value and replicates are all 0 or all 1.  The tails are those of Student's t, so that intervals over few
    people are wide enough.
    """
    stratum = np.asarray(strata, np.int64)
    if len(stratum) == 0:
        raise FaceVeilError("there are no people to resample; give at least one photo")
    if replicates < 1:
        raise FaceVeilError(f"replicates must be at least 1, not {replicates}")
    left_out = _jackknife_groups(stratum, groups)
    of_targets = targets if targets > 1 else 0
    kept = np.ones((1 + len(left_out) + of_targets, len(stratum)), np.float32)
    draws = np.ones((len(kept), targets), np.float32)
    for row, (_, members) in enumerate(left_out, start=1):
        kept[row, members] = 0
    for target in range(of_targets):
        draws[1 + len(left_out) + target, target] = 0
    drawn = resample_people(stratum, replicates=replicates, seed=seed)
    values = statistics(
        np.concatenate([kept, drawn]), np.concatenate([draws, resample_targets(targets, replicates=replicates, seed=seed)])
    )
    group_stratum = np.array([s for s, _ in left_out] + of_targets * [stratum.max() + 1], np.int64)
    results = {}
    for name, value in values.items():
        value = np.asarray(value, np.float64)
        jackknife, replicate = value[1 : len(kept)], value[len(kept) :]
        estimate = _estimate(float(value[0]), jackknife, group_stratum, replicate, len(stratum), trials or len(stratum))
        results[name] = Bootstrap(estimate, replicate)
    return results


def resample_targets(targets: int, *, replicates: int, seed: int) -> NDArray[np.float32]:
    """How often each of T targets is drawn, (R, T): with replacement, T a row; one target is always there."""
    if targets == 1:
        return np.ones((replicates, 1), np.float32)
    return _resample(targets, replicates, seed, _TARGET_STRATUM)


def resample_people(strata: ArrayLike, *, replicates: int, seed: int) -> NDArray[np.float32]:
    """How often each of P people is drawn, (R, P): with replacement, as many as there are in each stratum."""
    stratum = np.asarray(strata, np.int64)
    counts = np.zeros((replicates, len(stratum)), np.float32)
    for value in np.unique(stratum):
        members = np.flatnonzero(stratum == value)
        counts[:, members] = _resample(len(members), replicates, seed, int(value))
    return counts


@lru_cache(maxsize=16)  # every statistic of one evaluation resamples the same people
def _resample(people: int, replicates: int, seed: int, stratum: int) -> NDArray[np.float32]:
    counts = np.zeros((replicates, people), np.float32)
    generator = np.random.default_rng([seed, stratum])
    for row in counts:
        row[:] = np.bincount(generator.integers(people, size=people), minlength=people)
    counts.setflags(write=False)
    return counts


def mean_over_targets(estimates: Sequence[Estimate], replicates: Sequence[Floats], *, seed: int) -> Bootstrap:
    """The mean of one metric over T targets, from each target's estimate and replicates (R,) over the same resampled people.

    Targets are resampled beside people.  The interval is that of bias-corrected percentiles (Efron 1987, without
    acceleration); of one target it is the target's own.  Not measurable where it is not for one of them.
    """
    people = min(e.n for e in estimates)
    if any(e.value is None for e in estimates):
        return Bootstrap(Estimate(None, None, None, people, "not_measurable"), np.zeros(0))
    if len(estimates) == 1:
        return Bootstrap(estimates[0], np.asarray(replicates[0], np.float64))
    value = float(np.mean([e.value for e in estimates if e.value is not None]))
    table = np.stack([np.asarray(r, np.float64) for r in replicates], axis=1)  # (R, T)
    draws = resample_targets(table.shape[1], replicates=len(table), seed=seed)
    means = np.einsum("rt,rt->r", table, draws) / table.shape[1]
    finite = means[np.isfinite(means)]
    if len(finite) == 0 or np.all(finite == value):
        return Bootstrap(_estimate(value, np.zeros(0), np.zeros(0, np.int64), finite, people, people), means)
    below = float(np.mean(finite < value) + np.mean(finite == value) / 2)
    half = 0.5 / len(finite)  # a bias that all replicates agree on is as large as their number can show
    bias = float(ndtri(np.clip(below, half, 1 - half)))
    low, high = np.quantile(finite, ndtr(2 * bias + ndtri(_tails(people))))
    return Bootstrap(Estimate(value, float(low), float(high), people, "bc"), means)


def clopper_pearson(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact two-sided interval of a proportion (Clopper and Pearson 1934)."""
    tail = (1 - level) / 2
    low = float(betaincinv(successes, trials - successes + 1, tail)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, trials - successes, 1 - tail)) if successes < trials else 1.0
    return low, high


def _jackknife_groups(stratum: NDArray[np.int64], groups: int) -> list[tuple[int, NDArray[np.int64]]]:
    """(stratum, people) of each group to leave out: within strata, each stratum at least two groups; a lone person is kept."""
    share = min(1.0, groups / len(stratum))
    result = []
    for value in np.unique(stratum):
        members = np.flatnonzero(stratum == value)
        number = min(len(members), max(2, round(share * len(members))))
        if number > 1:
            result += [(int(value), part) for part in np.array_split(members, number)]
    return result


def _estimate(
    value: float, jackknife: Floats, stratum: NDArray[np.int64], replicates: Floats, people: int, trials: int
) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None, None, None, people, "not_measurable")
    finite = replicates[np.isfinite(replicates)]
    if len(finite) == 0 or np.all(finite == value):
        if value in (0.0, 1.0):
            return Estimate(value, *clopper_pearson(round(value) * trials, trials), people, "clopper_pearson")
        bound = value if people > 1 and len(finite) > 0 else None
        return Estimate(value, bound, bound, people, "degenerate")
    tails = _tails(people)
    levels = _bca_levels(value, jackknife, stratum, finite, tails)
    method: Method = "percentile" if levels is None else "bca"
    low, high = np.quantile(finite, tails if levels is None else levels)
    return Estimate(value, float(low), float(high), people, method)


def _tails(people: int) -> Floats:
    """The nominal tails, wider for few people (Hesterberg 2015, "What teachers should know about the bootstrap", section 5.3).

    Resampling n people spreads a mean by sqrt((n - 1) / n) too little, and takes its spread for known; Student's t with
    n - 1 degrees of freedom makes up for both.  From some hundred people on nothing changes.
    """
    if people < 2:
        return np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low = float(ndtr(-np.sqrt(people / (people - 1)) * stdtrit(people - 1, (1 + LEVEL) / 2)))
    low = max(low, 1e-6)  # of two or three people: all replicates, as far as there are any
    return np.array([low, 1 - low])


def _bca_levels(
    value: float, jackknife: Floats, stratum: NDArray[np.int64], replicates: Floats, tails: Floats
) -> Floats | None:
    """The quantile levels of the BCa interval, or None where they are undefined."""
    acceleration = _acceleration(jackknife, stratum)
    bias = ndtri(np.mean(replicates < value) + np.mean(replicates == value) / 2)
    if acceleration is None or not np.isfinite(bias):
        return None
    shifted = bias + ndtri(tails)
    scale = 1 - acceleration * shifted
    if np.any(scale <= 0):
        return None
    return np.asarray(ndtr(bias + shifted / scale))


def _acceleration(jackknife: Floats, stratum: NDArray[np.int64]) -> float | None:
    """Skewness of the influence of leaving a group out, its strata joined as in Davison and Hinkley; None where undefined."""
    second = third = 0.0
    for value in np.unique(stratum):
        left_out = jackknife[stratum == value]
        influence = (len(left_out) - 1) * (left_out.mean() - left_out) / len(left_out)
        second += float(np.sum(influence**2))
        third += float(np.sum(influence**3))
    if not np.isfinite(third) or second <= 0:
        return None
    return float(third / (6 * second**1.5))
