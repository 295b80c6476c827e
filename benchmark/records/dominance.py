"""Significant dominance between entries, and the layers that it makes.  Pure, and quick for ten thousand entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2


class Interval(Protocol):
    """A value with its ends."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


@dataclass(frozen=True)
class AxisValues:
    """One axis of N entries, seen so that higher is better.

    ``value``, ``low``, ``high`` (N,), NaN where there is none; ``replicates`` (N, B), NaN behind the ``size`` (N,) of each.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    replicates: np.ndarray
    size: np.ndarray
    lowest: np.ndarray = field(init=False)  # (N,) of the replicates
    highest: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        has = self.size > 0
        for name, extreme in (("lowest", np.nanmin), ("highest", np.nanmax)):
            values = np.full(len(self.size), np.nan)
            if has.any():
                values[has] = extreme(self.replicates[has], axis=1)
            object.__setattr__(self, name, values)

    @staticmethod
    def of(axes: Sequence[Interval], replicates: Sequence[np.ndarray] = (), sign: int = 1) -> AxisValues:
        """The scores of some axes and their replicates (none: intervals decide); ``sign=-1`` where lower is better."""
        value, low, high = (sign * _column([getattr(axis, end) for axis in axes]) for end in ("value", "low", "high"))
        if sign < 0:
            low, high = high, low
        size = np.array([len(r) for r in replicates], int) if len(replicates) else np.zeros(len(axes), int)
        padded = np.full((len(axes), int(size.max(initial=0))), np.nan)
        for row, own in zip(padded, replicates, strict=False):
            row[: len(own)] = sign * own
        return AxisValues(value, low, high, padded, size)

    def significantly_above(self, one: int, others: np.ndarray) -> np.ndarray:
        """Whether entry ``one`` is above each of ``others`` (M,): bool (M,).

        97.5 % of the paired differences are above zero; without replicates: the intervals do not overlap.
        """
        size = np.minimum(self.size[one], self.size[others])
        result: np.ndarray = self.low[one] > self.high[others]  # False where one is NaN
        paired = size > 0
        result[paired] = False
        clear = paired.copy()
        clear[paired] = self.lowest[one] > self.highest[others[paired]]
        result |= clear
        unclear = np.flatnonzero(paired & ~clear)
        above = self.replicates[one] > self.replicates[others[unclear]]  # NaN is above nothing
        result[unclear] = above.sum(axis=1) >= (1 - TAIL) * size[unclear] - 1e-9
        return result


def _column(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], dtype=float)


def dominance(*axes: AxisValues) -> np.ndarray:
    """(N, N) bool: the entry of the row significantly dominates that of the column.

    It does so directly where it is at least as good on every axis by point estimate, and better by point estimate and
    significantly on one at least; and it dominates whatever an entry that it dominates does.  The first is part of Pareto
    dominance, so there is no cycle; the second makes it a strict partial order.
    """
    points = np.stack([axis.value for axis in axes], axis=1)  # (N, A)
    result = np.zeros((len(points), len(points)), bool)
    for i in range(len(points)):
        above = points[i] > points
        below = np.flatnonzero((points[i] >= points).all(axis=1) & above.any(axis=1))
        for axis, better in zip(axes, above[below].T, strict=True):
            left = below[better & ~result[i, below]]
            result[i, left] = axis.significantly_above(i, left)
    return _closure(result, np.lexsort(tuple(-points.T[::-1])))


def _closure(direct: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The transitive closure (N, N) of a relation (N, N) that only leads from earlier to later entries of ``order`` (N,)."""
    position = np.empty(len(order), int)
    position[order] = np.arange(len(order))
    above = np.zeros_like(direct)  # row j: what dominates j
    for j in order:
        dominators = np.flatnonzero(direct[:, j])
        for i in dominators[np.argsort(-position[dominators])]:  # the latest first: it brings the earlier ones along
            if not above[j, i]:
                above[j] |= above[i]
                above[j, i] = True
    return np.ascontiguousarray(above.T)


def layers(dominates: np.ndarray) -> np.ndarray:
    """(N,) int, 1 for entries that none dominates, 2 for those that none dominates once these are set aside, and so on.

    Goldberg's non-dominated sorting (1989).  ``dominates`` (N, N) must have no cycle.
    """
    count = dominates.sum(axis=0)
    result = np.zeros(len(dominates), int)
    layer = 0
    while (result == 0).any():
        layer += 1
        front = np.flatnonzero((result == 0) & (count == 0))
        result[front] = layer
        count = count - dominates[front].sum(axis=0)
    return result
