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
    some_bare: bool = field(init=False)  # some entries have no replicates

    def __post_init__(self) -> None:
        has = self.size > 0
        for name, extreme in (("lowest", np.nanmin), ("highest", np.nanmax)):
            values = np.full(len(self.size), np.nan)
            if has.any():
                values[has] = extreme(self.replicates[has], axis=1)
            object.__setattr__(self, name, values)
        object.__setattr__(self, "some_bare", not has.all())

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

    def taken(self, order: np.ndarray) -> AxisValues:
        """The same entries in another order (N,)."""
        return AxisValues(self.value[order], self.low[order], self.high[order], self.replicates[order], self.size[order])

    def clearly_above(self, one: int) -> np.ndarray:
        """Whether each of the entries in front of entry ``one`` is above it for sure: bool (one,).

        All of its replicates are above all of the other's; without replicates: the intervals do not overlap.
        """
        if self.size[one] == 0:
            return self._overlap_free(one)
        clear: np.ndarray = self.lowest[:one] > self.highest[one]  # False where one is NaN
        if self.some_bare:
            clear |= (self.size[:one] == 0) & self._overlap_free(one)
        return clear

    def _overlap_free(self, one: int) -> np.ndarray:
        result: np.ndarray = self.low[:one] > self.high[one]
        return result

    def significantly_above(self, entries: np.ndarray, one: int) -> np.ndarray:
        """Whether 97.5 % of the paired differences of ``entries`` (M,) from entry ``one`` are above zero: bool (M,).

        False where one of the two has no replicates.
        """
        size = np.minimum(self.size[one], self.size[entries])
        above = (self.replicates[entries] > self.replicates[one]).sum(axis=1)  # NaN is above nothing
        result: np.ndarray = (size > 0) & (above >= (1 - TAIL) * size - 1e-9)
        return result


def _column(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], dtype=float)


@dataclass(frozen=True)
class Dominance:
    """Who significantly dominates whom among N entries: a strict partial order.

    ``order`` (N,): the entries so that only earlier ones dominate later ones.  ``above``: of each place in it the set of places
    that dominate it, as a whole number of N bits: sets of thousands of entries are joined in no time.  ``layers`` (N,) by
    entry, 1 for those that none dominates, 2 for those that none dominates once these are set aside, and so on (Goldberg's
    non-dominated sorting, 1989).
    """

    order: np.ndarray
    above: tuple[int, ...]
    layers: np.ndarray

    def dominators(self, place: int, sorted_by: np.ndarray) -> np.ndarray:
        """The entries that dominate the one at a place of ``order``, ordered as ``sorted_by`` (N,), a permutation of places."""
        found: np.ndarray = self.order[sorted_by[_mask(self.above[place], len(self.order))[sorted_by]]]
        return found

    def matrix(self) -> np.ndarray:
        """(N, N) bool: the entry of the row dominates that of the column."""
        result = np.zeros((len(self.order),) * 2, bool)
        for place, entry in enumerate(self.order):
            result[self.order[_mask(self.above[place], len(self.order))], entry] = True
        return result


_AT_ONCE = 32  # pairs that are compared replicate by replicate


def dominance(*axes: AxisValues) -> Dominance:
    """Who significantly dominates whom.

    One entry does so directly where it is at least as good on every axis by point estimate, and better by point estimate and
    significantly on one at least; and it dominates whatever an entry that it dominates does.  The first is part of Pareto
    dominance, so there is no cycle; the second makes it a strict partial order.  What follows from pairs that were compared
    is not compared: of a close entry that is dominated, all that dominates it comes along.
    """
    points = np.stack([axis.value for axis in axes])  # (A, N)
    order = np.lexsort(-points[::-1])
    ordered = [axis.taken(order) for axis in axes]
    above: list[int] = []
    layers: list[int] = []
    for place in range(len(order)):
        found = _Found(above, layers)
        better = [axis.value[:place] > axis.value[place] for axis in ordered]
        least = np.logical_and.reduce([axis.value[:place] >= axis.value[place] for axis in ordered])
        clear = least & np.logical_or.reduce([b & a.clearly_above(place) for a, b in zip(ordered, better, strict=True)])
        found.add(clear)
        _compare(ordered, better, least & np.logical_or.reduce(better) & ~clear, place, found)
        above.append(found.places)
        layers.append(found.layer)
    by_entry = np.empty(len(order), int)
    by_entry[order] = layers
    return Dominance(order, tuple(above), by_entry)


class _Found:
    """The places that dominate one, as far as is known; ``layer`` is one below the lowest of theirs."""

    def __init__(self, above: list[int], layers: list[int]) -> None:
        self.places, self.layer = 0, 1
        self._above, self._layers = above, layers

    def add(self, direct: np.ndarray) -> None:
        """Adds the places where a mask (M,) is true, with what dominates them; the latest first: it brings the earlier ones."""
        rest = _bits(direct) & ~self.places
        while rest:
            latest = rest.bit_length() - 1
            brought = self._above[latest] | (1 << latest)
            self.places |= brought
            self.layer = max(self.layer, self._layers[latest] + 1)
            rest ^= rest & brought


def _compare(axes: Sequence[AxisValues], better: Sequence[np.ndarray], unclear: np.ndarray, place: int, found: _Found) -> None:
    """Compares a place with the ``unclear`` (place,) ones in front of it, the closest first, as long as any is undecided."""
    left = np.flatnonzero(unclear & ~_mask(found.places, place)) if unclear.any() else np.zeros(0, int)
    while len(left):
        asked, left = left[-_AT_ONCE:], left[:-_AT_ONCE]
        direct = np.zeros(place, bool)
        for axis, above in zip(axes, better, strict=True):
            pairs = asked[above[asked] & ~direct[asked]]
            direct[pairs] = axis.significantly_above(pairs, place)
        if direct.any():
            found.add(direct)
            left = left[~_mask(found.places, place)[left]]


def _bits(mask: np.ndarray) -> int:
    return int.from_bytes(np.packbits(mask, bitorder="little").tobytes(), "little")


def _mask(places: int, size: int) -> np.ndarray:
    octets = np.frombuffer(places.to_bytes(-(-size // 8), "little"), np.uint8)
    return np.unpackbits(octets, count=size, bitorder="little").view(bool)
