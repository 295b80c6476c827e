"""Scores to numbers: the one pinned definition of every metric.

A sample is called positive when its score is at least the threshold, so equal scores move together.  The thresholds are
the distinct scores, and +inf, at which nobody is positive.  Every metric is a function of the weights of true and false
positives at those thresholds (:class:`Roc`), for R weightings of the samples at once: a bootstrap is one batch.
Where a class is empty, or has no weight, a metric is NaN.

    value = auc(scores, labels)                                                         # one float
    replicates = roc(scores, labels, weights).auc()                                     # (R, N) weights -> (R,)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmark.interfaces import FaceVeilError

Floats = NDArray[np.float64]

NEGATIVES_PER_TARGET = 10  # a rate `a` is measurable from 10 / a negatives on


def is_measurable(n_negative: int, target: float) -> bool:
    """True where ``n_negative`` samples can tell a false positive rate of ``target``: at least 10 / target of them."""
    if not 0 < target <= 1:
        raise FaceVeilError(f"a target false positive rate lies in (0, 1], not {target}")
    return n_negative >= NEGATIVES_PER_TARGET / target


@dataclass(frozen=True)
class OperatingPoint:
    """The best true positive rate within a false positive rate; the three rates are None where it is not measurable."""

    target: float
    tpr: float | None
    fpr: float | None  # realised, at most ``target``
    threshold: float | None
    n_negative: int

    @property
    def measurable(self) -> bool:
        return self.tpr is not None


@dataclass(frozen=True)
class Roc:
    """What is positive at each threshold, under R weightings of the samples.

    ``thresholds`` (T,) fall from +inf; ``tp`` and ``fp`` (R, T) are the weights of positive and negative samples that score at
    least the threshold; ``n_positive`` and ``n_negative`` count the samples themselves.  Every method returns (R,).
    """

    thresholds: Floats
    tp: Floats
    fp: Floats
    n_positive: int
    n_negative: int

    @cached_property
    def tpr(self) -> Floats:
        """True positive rates (R, T)."""
        return _ratio(self.tp, self.tp[:, -1:])

    @cached_property
    def fpr(self) -> Floats:
        """False positive rates (R, T)."""
        return _ratio(self.fp, self.fp[:, -1:])

    def auc(self) -> Floats:
        """Area under the curve: P(positive > negative) + P(equal) / 2 (Mann and Whitney 1947)."""
        twice = np.einsum("rt,rt->r", np.diff(self.fp), self.tp[:, 1:] + self.tp[:, :-1])
        return _ratio(twice, 2 * self.tp[:, -1] * self.fp[:, -1])

    def advantage(self, threshold: float | None = None) -> Floats:
        """Membership advantage TPR - FPR (Yeom et al. 2018, def. 4), at ``threshold`` or the largest over all thresholds."""
        if threshold is None:
            return self._largest_advantage
        tpr, fpr = self.rates_at(threshold)
        return tpr - fpr

    @cached_property
    def _largest_advantage(self) -> Floats:
        return np.asarray((self.tpr - self.fpr).max(axis=1))

    def balanced_accuracy(self, threshold: float | None = None) -> Floats:
        """(TPR + TNR) / 2, at ``threshold`` or the largest over all thresholds."""
        return (1 + self.advantage(threshold)) / 2

    def best_threshold(self) -> Floats:
        """The threshold with the largest TPR - FPR, the highest of equals; +inf where no threshold has a gain."""
        return np.asarray(self.thresholds[np.argmax(self.tpr - self.fpr, axis=1)])

    def rates_at(self, threshold: float) -> tuple[Floats, Floats]:
        """(TPR, FPR) when every score of at least ``threshold`` is called positive."""
        if np.isnan(threshold):
            raise FaceVeilError("the threshold is NaN; choose a number")
        index = int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1
        return _ratio(self.tp[:, index], self.tp[:, -1]), _ratio(self.fp[:, index], self.fp[:, -1])

    def tpr_at_fpr(self, target: float) -> tuple[Floats, Floats, Floats]:
        """(TPR, realised FPR, threshold): the largest TPR over the thresholds whose FPR is at most ``target``.

        No interpolation.  Of the thresholds with that TPR the highest is taken, so the realised FPR is the least that buys it.
        """
        fpr = self.fpr
        rows = np.arange(len(fpr))
        last = np.count_nonzero(fpr <= target, axis=1) - 1
        best = self.tp[rows, last]
        first = np.count_nonzero(self.tp < best[:, None], axis=1)
        tpr = _ratio(best, self.tp[:, -1])
        return tpr, fpr[rows, first], np.asarray(self.thresholds[first])

    def eer(self) -> Floats:
        """Equal error rate: where the curve, ties drawn as straight segments as in :meth:`auc`, crosses FPR = 1 - TPR."""
        fpr = self.fpr
        excess = fpr + self.tpr - 1  # rises from -1 to 1 along the thresholds; NaN throughout where a class is empty
        rows = np.arange(len(excess))
        after = np.count_nonzero(excess < 0, axis=1)
        before = np.maximum(after - 1, 0)
        step = _ratio(-excess[rows, before], excess[rows, after] - excess[rows, before])
        return np.asarray(fpr[rows, before] + step * (fpr[rows, after] - fpr[rows, before]))

    def d_prime(self) -> Floats:
        """Difference of the class means over the root mean of the class variances (population variances)."""
        values = self.thresholds[1:]
        if len(values) == 0:
            return np.full(len(self.tp), np.nan)
        with np.errstate(invalid="ignore"):  # infinite scores have no moments: NaN
            centred = values - values[0]  # so that equal means differ by exactly 0
        mean_p, variance_p = _moments(centred, np.diff(self.tp))
        mean_n, variance_n = _moments(centred, np.diff(self.fp))
        return _ratio(mean_p - mean_n, np.sqrt((variance_p + variance_n) / 2))


def roc(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Roc:
    """The curve of (N,) scores with (N,) boolean labels under (R, N) or (N,) weights of at least 0; None: all 1.

    Needs memory for about 5 * R * N floats; the bootstrap in ``benchmark.metrics.intervals`` calls it in chunks of R.
    Raises FaceVeilError for scores that are NaN, labels that are not 0 or 1, and shapes that do not fit.
    """
    score, positive = _checked(scores, labels)
    n_positive = int(positive.sum())
    distinct = np.unique(score)[::-1]
    tp = _cumulative(score, positive, distinct, weights)
    fp = _cumulative(score, ~positive, distinct, weights)
    return Roc(np.concatenate([[np.inf], distinct]), tp, fp, n_positive, len(score) - n_positive)


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """See :meth:`Roc.auc`."""
    return float(roc(scores, labels).auc()[0])


def advantage(scores: ArrayLike, labels: ArrayLike, threshold: float | None = None) -> float:
    """See :meth:`Roc.advantage`."""
    return float(roc(scores, labels).advantage(threshold)[0])


def balanced_accuracy(scores: ArrayLike, labels: ArrayLike, threshold: float | None = None) -> float:
    """See :meth:`Roc.balanced_accuracy`."""
    return float(roc(scores, labels).balanced_accuracy(threshold)[0])


def best_threshold(scores: ArrayLike, labels: ArrayLike) -> float:
    """See :meth:`Roc.best_threshold`."""
    return float(roc(scores, labels).best_threshold()[0])


def rate_at_threshold(scores: ArrayLike, labels: ArrayLike, threshold: float) -> tuple[float, float]:
    """See :meth:`Roc.rates_at`."""
    tpr, fpr = roc(scores, labels).rates_at(threshold)
    return float(tpr[0]), float(fpr[0])


def tpr_at_fpr(scores: ArrayLike, labels: ArrayLike, target: float) -> OperatingPoint:
    """See :meth:`Roc.tpr_at_fpr`; without rates where fewer than 10 / target negatives make it not measurable."""
    return operating_point(roc(scores, labels), target)


def operating_point(curve: Roc, target: float) -> OperatingPoint:
    """:meth:`Roc.tpr_at_fpr` of the curve's first weighting, as one value."""
    if not is_measurable(curve.n_negative, target) or curve.n_positive == 0:
        return OperatingPoint(target, None, None, None, curve.n_negative)
    tpr, fpr, threshold = curve.tpr_at_fpr(target)
    return OperatingPoint(target, float(tpr[0]), float(fpr[0]), float(threshold[0]), curve.n_negative)


def eer(scores: ArrayLike, labels: ArrayLike) -> float:
    """See :meth:`Roc.eer`."""
    return float(roc(scores, labels).eer()[0])


def d_prime(scores: ArrayLike, labels: ArrayLike) -> float:
    """See :meth:`Roc.d_prime`."""
    return float(roc(scores, labels).d_prime()[0])


def log_spaced_roc(scores: ArrayLike, labels: ArrayLike, points: int = 200) -> tuple[tuple[float, float], ...]:
    """At most ``points`` corners (FPR, TPR) of the curve: the best at FPR 0, then the best within log-spaced FPRs up to (1, 1).

    Empty where a class is empty.
    """
    curve = roc(scores, labels)
    if curve.n_positive == 0 or curve.n_negative == 0:
        return ()
    tpr, fpr = curve.tpr[0], curve.fpr[0]
    return tuple((float(fpr[i]), float(tpr[i])) for i in log_spaced(fpr, 1 / curve.n_negative, points))


def log_spaced(fpr: Floats, least: float, points: int) -> NDArray[np.int64]:
    """Positions in rising ``fpr`` of the last at 0, and of the last within each of log-spaced FPRs from ``least`` to 1."""
    targets = np.concatenate([[0.0], np.geomspace(least, 1, points - 1)])
    found = np.unique(np.searchsorted(fpr, targets, side="right") - 1)
    return found[found >= 0]


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    score = np.asarray(scores, np.float64)
    label: NDArray[Any] = np.asarray(labels)
    if score.ndim != 1 or score.shape != label.shape:
        raise FaceVeilError(f"scores {score.shape} and labels {label.shape} must both be (N,)")
    if np.isnan(score).any():
        raise FaceVeilError(f"{int(np.isnan(score).sum())} of {len(score)} scores are NaN; an attack must score every photo")
    if not np.isin(label, (0, 1)).all():
        raise FaceVeilError(f"labels must be 0 or 1, not {np.unique(label)[:5].tolist()}")
    return score, label.astype(bool)


def _cumulative(score: Floats, chosen: NDArray[np.bool_], distinct: Floats, weights: ArrayLike | None) -> Floats:
    """Weight (R, T) of the chosen samples that score at least each threshold, the first being +inf."""
    order = np.flatnonzero(chosen)[np.argsort(-score[chosen], kind="stable")]
    reached = np.searchsorted(-score[order], -distinct, side="right")
    reached = np.concatenate([[0], reached])
    if weights is None:
        return reached[None].astype(np.float64)
    weight = np.atleast_2d(np.asarray(weights, np.float64))
    if weight.ndim != 2 or weight.shape[1] != len(score):
        raise FaceVeilError(f"weights {weight.shape} must be (R, {len(score)}): one column a sample")
    total = np.zeros((len(weight), len(order) + 1))
    np.cumsum(weight[:, order], axis=1, out=total[:, 1:])
    return total[:, reached]


def _moments(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weighted mean and population variance (R,) of (T,) values under (R, T) weights."""
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = _ratio(weights @ values, total)
        variance = _ratio(np.einsum("rt,rt->r", weights, (values - mean[:, None]) ** 2), total)
    variance[np.count_nonzero(weights, axis=1) == 1] = 0.0  # one distinct score: what is left is rounding
    return mean, variance


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(numerator / denominator)
