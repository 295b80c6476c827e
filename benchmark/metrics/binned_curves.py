"""ROC curves of many scores under many weightings of people and targets, at some two thousand thresholds.

A bootstrap over a population weighs the same scores a thousand times.  Sorted into bins once, each weighting is a sparse
product instead of a sum over all scores.  Up to :data:`EXACT` distinct scores every one is a threshold, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from benchmark.metrics.intervals import Bootstrap, bootstrap_crossed, people_strata
from benchmark.metrics.roc import Roc

Floats = NDArray[np.float64]
EXACT = 2048  # distinct scores
_WINDOW = 128  # thresholds around each false positive rate that is asked for
_CHUNK = 2**17  # thresholds of all weightings that are held at once: what a processor's cache holds


@dataclass(frozen=True)
class BinnedCurves:
    """Weights of positives and negatives in each bin, from the highest scores down, by group of rows.

    ``positive`` and ``negative`` (G, B) are sparse counts; ``thresholds`` (B,) fall.
    """

    positive: csr_array
    negative: csr_array
    thresholds: Floats

    @staticmethod
    def of(
        score: Floats, label: NDArray[np.bool_], group: NDArray[np.int64], groups: int, rates: Sequence[float]
    ) -> BinnedCurves:
        """From N scores with their labels and groups 0..groups-1; dense around the false positive ``rates``."""
        edges = _edges(score, label, rates)  # rising lower edges
        bins = len(edges) - np.searchsorted(edges, score, side="right")  # 0: the highest
        shape = (groups, len(edges))

        def counts(chosen: NDArray[np.bool_]) -> csr_array:
            return csr_array((np.ones(int(chosen.sum())), (group[chosen], bins[chosen])), shape=shape)

        return BinnedCurves(counts(label), counts(~label), edges[::-1])

    def __call__(self, weights: Floats) -> Roc:
        """The curves under (R, G) weights of the groups."""
        return Roc(
            np.append(np.inf, self.thresholds),
            _cumulative(weights, self.positive),
            _cumulative(weights, self.negative),
            round(self.positive.sum()),
            round(self.negative.sum()),
        )


def _cumulative(weights: Floats, counts: csr_array) -> Floats:
    total = np.zeros((len(weights), counts.shape[1] + 1))
    total[:, 1:] = (counts.T @ weights.T).T
    return np.cumsum(total, axis=1, out=total)


def _edges(score: Floats, label: NDArray[np.bool_], rates: Sequence[float]) -> Floats:
    """Rising scores that begin a bin: all, or as many as ranks of positives, of negatives and around ``rates`` name."""
    distinct = np.unique(score)
    if len(distinct) <= EXACT:
        return distinct
    chosen = [distinct[:1]]
    windows = [np.geomspace(rate / 4, min(1, rate * 4), _WINDOW) for rate in rates]
    for values, shares in (
        (np.sort(score[label]), [np.linspace(0, 1, 800)]),
        (np.sort(score[~label]), [np.linspace(0, 1, 800), *windows]),
    ):
        if len(values):
            above = np.clip(np.floor(np.concatenate(shares) * len(values)).astype(np.int64), 1, len(values))
            chosen.append(values[len(values) - above])
    # a score and the next higher one: a negative that stands alone in its bin pulls no positives along
    edges = np.unique(np.concatenate(chosen))
    after = np.minimum(np.searchsorted(distinct, edges, side="right"), len(distinct) - 1)
    return np.unique(np.concatenate([edges, distinct[after]]))


def bootstrap_curves(
    statistics: Callable[[Roc], Mapping[str, Floats]],
    score: Floats,
    label: NDArray[np.bool_],
    identity: NDArray[np.int64],
    target: NDArray[np.int64],
    *,
    rates: Sequence[float] = (),
    replicates: int,
    seed: int,
) -> dict[str, Bootstrap]:
    """Two-level intervals of statistics of the ROC curve of N rows: people and targets are resampled.

    Args:
        statistics: maps R curves to named values (R,).
        identity: (N,) the person of each row, and
        target: (N,) the backbone that it is about.
        rates: false positive rates around which the curve must be fine.
    """
    person = np.unique(identity, return_inverse=True)[1]
    of_target = np.unique(target, return_inverse=True)[1]
    people, targets = int(person.max()) + 1, int(of_target.max()) + 1
    curves = BinnedCurves.of(score, label, person * targets + of_target, people * targets, rates)
    strata, trials = people_strata(person, label)

    def by_group(counts: NDArray[np.float32], draws: NDArray[np.float32]) -> dict[str, Floats]:
        rows = max(1, _CHUNK // len(curves.thresholds))
        parts = []
        for start in range(0, len(counts), rows):
            part = slice(start, start + rows)
            weights = counts[part, :, None].astype(np.float64) * draws[part, None, :]
            parts.append(statistics(curves(weights.reshape(len(weights), -1))))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return bootstrap_crossed(by_group, strata, targets, replicates=replicates, seed=seed, trials=trials)
