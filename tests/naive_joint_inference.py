"""The joint inference as first written, which the fast one must equal: each hypothesis by its own sums, each round anew."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.special import logsumexp
from scipy.stats import norm as gaussian

EXHAUSTIVE = 8  # photos a person up to which every subset is tried
ROUNDS = 15
BINS = 400
SMOOTHING = 0.5  # deviation of the kernel, in units of the logit
FLOOR = 0.02  # share of a uniform density, so that no photo rules a subset out alone
CHUNK = 128  # people at once


@dataclass(frozen=True)
class Density:
    """Density of logits on a grid, smoothed."""

    grid: np.ndarray
    log: np.ndarray

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        return np.interp(logits, self.grid, self.log)

    @staticmethod
    def of_counts(grid: np.ndarray, counts: np.ndarray) -> Density:
        """From a histogram over the cells of ``grid``."""
        step = grid[1] - grid[0]
        smooth = gaussian_filter1d(counts, SMOOTHING / step, mode="nearest")
        share = smooth / max(smooth.sum(), 1e-12) / step
        return Density(grid, np.log((1 - FLOOR) * share + FLOOR / (grid[-1] - grid[0])))


@dataclass(frozen=True)
class Group:
    """People with equally many photos, and the logits of those photos under every hypothesis.

    ``rows`` (P, n) are positions of the photos, ``inside`` (P or 1, S, n) the hypotheses, ``logits`` (P, S, n).
    """

    rows: np.ndarray
    inside: np.ndarray
    logits: np.ndarray


def hypotheses(order: np.ndarray) -> np.ndarray:
    """Subsets of n photos, (P or 1, S, n) bool; none inside means that the person was never trained on.

    Up to ``EXHAUSTIVE`` photos all of them.  Beyond, for each person the first k photos of ``order`` (P, n), most likely
    first, for every k, and each of these with any one photo changed sides.
    """
    people, n = order.shape
    if n <= EXHAUSTIVE:
        return np.array(list(itertools.product((False, True), repeat=n)))[None]
    first = np.arange(n)[None] < np.arange(1, n + 1)[:, None]  # (n, n): the first k places
    changed = first[:, None] ^ np.eye(n, dtype=bool)[None]  # (n, n, n)
    places = np.unique(np.concatenate([first, changed.reshape(-1, n)]), axis=0)
    inside = np.zeros((people, len(places), n), bool)
    np.put_along_axis(inside, np.broadcast_to(order[:, None], inside.shape), np.broadcast_to(places, inside.shape), axis=2)
    return inside


def subset_logits(embeddings: np.ndarray, inside: np.ndarray, others: np.ndarray, scale: float) -> np.ndarray:
    """Logits (P, S, n): scaled cosine to the mean of the photos inside, the photo itself left out, less ``others``.

    Where no photo is inside all of them make the centre, the photo itself left out.  A photo alone inside has no centre but
    itself; its own cosine counts as 0.

    Args:
        embeddings: (P, n, D), of length 1.
        others: (P, n) log-mean over the other people's centres.
    """
    voting = inside | ~inside.any(2, keepdims=True)
    weights = np.broadcast_to(voting, (len(embeddings), *inside.shape[1:])).astype(np.float64)
    sums = weights @ embeddings  # (P, S, D)
    products = sums @ embeddings.transpose(0, 2, 1)  # (P, S, n)
    squares = np.square(sums).sum(-1, keepdims=True)
    # With the photo left out: (sum - x) . x / |sum - x|, and |sum - x|^2 = |sum|^2 - 2 sum . x + 1.
    left_out = (products - 1) / np.sqrt(np.maximum(squares - 2 * products + 1, 1e-12))
    alone = weights.sum(-1, keepdims=True) == 1
    cosines = np.where(weights > 0, np.where(alone, 0.0, left_out), products / np.sqrt(np.maximum(squares, 1e-12)))
    return scale * cosines - others[:, None]


def groups(
    embeddings: np.ndarray, person: np.ndarray, others: np.ndarray, order_by: np.ndarray, scale: float
) -> Iterator[Group]:
    """The people, in chunks with equally many photos."""
    by_person = np.argsort(person, kind="stable")
    counts = np.bincount(person)
    starts = np.concatenate([[0], np.cumsum(counts)])
    for n in np.unique(counts[counts > 0]).tolist():
        people = np.flatnonzero(counts == n)
        for start in range(0, len(people), CHUNK):
            rows = np.stack([by_person[starts[p] : starts[p] + n] for p in people[start : start + CHUNK]])
            inside = hypotheses(np.argsort(-order_by[rows], axis=1, kind="stable"))
            yield Group(rows, inside, subset_logits(embeddings[rows], inside, others[rows], scale))


Densities = tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], Callable[[np.ndarray, np.ndarray], np.ndarray]]


def log_likelihoods(group: Group, densities: Densities) -> np.ndarray:
    """(P, S) of each hypothesis, photos taken as independent given it.

    Args:
        densities: log-densities of photos inside and outside: functions of logits (P, S, n) and rows (P, 1, n).
    """
    rows = group.rows[:, None]
    inside, outside = (density(group.logits, rows) for density in densities)
    return np.where(group.inside, inside, outside).sum(2)


class SizePrior:
    """How probable it is that k of n photos are inside: one number for each n and k, learned.

    With ``learned=False`` every subset is as probable as any other: each photo tosses a coin of its own.
    """

    def __init__(self, learned: bool = True) -> None:
        self._learned = learned
        self._log: dict[int, np.ndarray] = {}

    def __call__(self, inside: np.ndarray) -> np.ndarray:
        """(P or 1, S) log-probability of each hypothesis, equal among those of one size."""
        n = inside.shape[2]
        if not self._learned:
            return np.zeros(inside.shape[:2])
        sizes = inside.sum(2)
        shares = self._log.get(n, np.zeros(n + 1))
        alike = np.apply_along_axis(lambda row: np.bincount(row, minlength=n + 1), 1, sizes)
        return shares[sizes] - np.log(np.take_along_axis(alike, sizes, axis=1))

    def learn(self, counts: dict[int, np.ndarray]) -> None:
        """Takes posterior counts (n + 1,) of each size, by n."""
        self._log = {n: np.log(c + 1e-6 * c.sum() + 1e-12) - np.log(c.sum() + 1e-12) for n, c in counts.items()}


class JointInference:
    """Log-odds of every photo being inside, summed over the hypotheses about its person.

    Args:
        embeddings: (N, D), of length 1.
        person: (N,) int, 0..P-1.
        others: (N,) log-mean over the other people's centres.
        start: (N,) logits of an earlier guess, from which the densities are taken where none are given.
        learn_sizes: whether people are alike in how many of their photos are inside, so that it can be learned.
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        person: np.ndarray,
        others: np.ndarray,
        start: np.ndarray,
        scale: float,
        learn_sizes: bool = True,
    ) -> None:
        self._groups = lambda: groups(embeddings, person, others, start, scale)
        self._person, self._start = person, start
        self._embeddings, self._others, self._scale = embeddings, others, scale
        self._prior = SizePrior(learn_sizes)

    def learn(self, known: Densities | None = None) -> Densities:
        """The densities inside and outside (those given, or guessed), and, from these photos, the prior of sizes."""
        densities = known or self._guessed()
        for _ in range(ROUNDS):
            sizes: dict[int, np.ndarray] = {}
            for group in self._groups():
                posterior = normalised(log_likelihoods(group, densities) + self._prior(group.inside))
                n = group.rows.shape[1]
                sizes[n] = sizes.get(n, np.zeros(n + 1)) + size_counts(group.inside, posterior)
            self._prior.learn(sizes)
        return densities

    def _guessed(self) -> Densities:
        """Of each person's photos those above the median pass for inside, and make the centre; Gaussians of the logits."""
        above, logits = np.zeros(len(self._start), bool), np.full(len(self._start), np.nan)
        for p in range(self._person.max() + 1):
            own = np.flatnonzero(self._person == p)
            above[own] = self._start[own] > np.median(self._start[own])
            for x in own:
                voters = [v for v in own if v != x and above[v]]
                if voters:
                    centre = self._embeddings[voters].sum(0)
                    logits[x] = self._scale * (self._embeddings[x] @ centre) / np.linalg.norm(centre) - self._others[x]
        floor = np.log(FLOOR / np.ptp(logits[np.isfinite(logits)]))

        def density(side: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
            values = logits[side & np.isfinite(logits)]
            return lambda found, _rows: np.logaddexp(gaussian.logpdf(found, values.mean(), values.std()), floor)

        return density(above), density(~above)

    def log_odds(self, densities: Densities) -> np.ndarray:
        """(N,) log P(inside) - log P(outside)."""
        result = np.empty(len(self._person))
        for group in self._groups():
            likelihood = log_likelihoods(group, densities) + self._prior(group.inside)
            result[group.rows] = photo_odds(group.inside, likelihood)
        return result


def normalised(likelihood: np.ndarray) -> np.ndarray:
    """(P, S) posterior of each person's hypotheses from their log-likelihoods."""
    return np.exp(likelihood - logsumexp(likelihood, axis=1, keepdims=True))


def size_counts(inside: np.ndarray, posterior: np.ndarray) -> np.ndarray:
    """(n + 1,) people with each number of photos inside, by the posterior of their hypotheses."""
    size = np.broadcast_to(inside.sum(2), posterior.shape)
    return np.bincount(size.ravel(), posterior.ravel(), inside.shape[2] + 1)


def photo_odds(inside: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
    """(P, n) log-odds of each photo being inside, from the likelihoods (P, S) of hypotheses ``inside`` (P or 1, S, n)."""
    likelihood = np.maximum(likelihood, likelihood.max(1, keepdims=True) - 700)  # keeps both sums finite
    columns = []
    for column in range(inside.shape[2]):
        here = np.broadcast_to(inside[:, :, column], likelihood.shape)
        sides = [logsumexp(np.where(side, likelihood, -np.inf), axis=1) for side in (here, ~here)]
        columns.append(np.nan_to_num(sides[0] - sides[1], neginf=-1e3, posinf=1e3))
    return np.stack(columns, axis=1)


def fitted_densities(logits: np.ndarray, inside: np.ndarray) -> Densities:
    """Densities inside and outside from photos whose side is known (NaN logits are left out)."""
    finite = np.isfinite(logits)
    grid = np.linspace(logits[finite].min() - 10, logits[finite].max() + 10, BINS)
    found = [Density.of_counts(grid, histogram(grid, logits[finite & mask])) for mask in (inside, ~inside)]
    return tuple(of_logits(d) for d in found)  # type: ignore[return-value]


def gaussian_densities(means: tuple[np.ndarray, np.ndarray], deviations: tuple[np.ndarray, np.ndarray]) -> Densities:
    """One pair of Gaussians for each photo: means and deviations (N,) inside and outside, from shadow backbones."""

    def density(mean: np.ndarray, deviation: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        return lambda logits, rows: gaussian.logpdf(logits, mean[rows], deviation[rows])

    inside, outside = (density(m, d) for m, d in zip(means, deviations, strict=True))
    return inside, outside


def of_logits(density: Density) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda logits, _rows: density(logits)


def histogram(grid: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    step = grid[1] - grid[0]
    cell = np.clip(np.rint((values - grid[0]) / step).astype(np.int64), 0, len(grid) - 1)
    return np.bincount(cell, weights, len(grid)).astype(np.float64)
