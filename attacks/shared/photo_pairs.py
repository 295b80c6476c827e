"""How alike the photos of one person are to a backbone, pair by pair, beside what backbones say that trained on neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attacks.shared.subsets import chunks

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


class PairStatistics:
    """Columns about each photo from its similarities to the person's other photos.

    Two photos that were trained on together are drawn to one centre, and so to one another; a pair of which one was trained on
    less, and a pair that was not least of all.  How alike two photos look anyway differs from pair to pair by far more, so that
    a similarity counts as its excess over what shadows say of the same pair that trained on neither photo.

    Args:
        embeddings: (K, N, D) of K backbones, of length 1; NaN where a backbone says nothing of a photo.
        inside: (K, N) bool, which photos each trained on (or whose people); what it says of a backbone that is asked about
            (see :meth:`columns`) is not looked at.
        person: (N,) int, 0..P-1.
        asked: (K, N) bool, the photos by whose pairs each backbone's scale is told: of people who are to it what those in
            question are to the target, since it knows its own people from strangers.
    """

    COLUMNS = 2 * len(QUANTILES) + 4

    def __init__(self, embeddings: np.ndarray, inside: np.ndarray, person: np.ndarray, asked: np.ndarray) -> None:
        self._groups = [rows for rows in chunks(person) if rows.shape[1] > 1]
        self._similar = [_standard(embeddings[:, rows]) for rows in self._groups]
        self._inside = inside
        self._count = len(person)
        pairs = list(zip(self._groups, self._similar, strict=True))
        moments = np.array(
            [[_moments(own[k][asked[k, rows]]) for rows, own in pairs] for k in range(len(embeddings))]
        )  # (K, G, 3)
        total = np.maximum(moments[..., 0].sum(1), 1)
        mean = moments[..., 1].sum(1) / total
        deviation = np.sqrt(np.maximum(moments[..., 2].sum(1) / total - mean**2, 1e-12))
        for group in self._similar:
            group -= mean[:, None, None, None]
            group /= deviation[:, None, None, None]

    def columns(self, one: int, others: Sequence[int]) -> np.ndarray:
        """(N, COLUMNS) about backbone ``one``, with ``others`` as shadows; NaN where it says nothing of a photo."""
        others = list(others)
        outside = [
            _Outside.of(similar[others], ~self._inside[others][:, rows])
            for rows, similar in zip(self._groups, self._similar, strict=True)
        ]
        trust = _Trust.of(outside)
        found = np.full((self._count, self.COLUMNS), np.nan)
        for rows, similar, said in zip(self._groups, self._similar, outside, strict=True):
            share = trust.share(said.count)
            excess = (similar[one] - said.mean * share) / np.sqrt(trust.noise + trust.spread * (1 - share))
            found[rows] = _of_photos(similar[one], excess)
        return found


@dataclass(frozen=True)
class _Outside:
    """What shadows say of pairs that they trained on neither photo of.

    ``mean`` (P, n, n) of their similarities, 0 where none says something; ``count`` (P, n, n) of those that do; ``within``: the
    sum of squares about the means.
    """

    mean: np.ndarray
    count: np.ndarray
    within: float

    @staticmethod
    def of(similar: np.ndarray, out: np.ndarray) -> _Outside:
        """From similarities (S, P, n, n) and which photos (S, P, n) each shadow did not train on."""
        neither = out[:, :, :, None] & out[:, :, None, :] & np.isfinite(similar)
        count = neither.sum(0)
        mean = np.where(neither, similar, 0.0).sum(0) / np.maximum(count, 1)
        return _Outside(mean, count, float((np.where(neither, similar - mean, 0.0) ** 2).sum()))


@dataclass(frozen=True)
class _Trust:
    """How far a mean over some shadows is to be believed: ``spread`` is the variance between pairs, ``noise`` within them."""

    spread: float
    noise: float

    @staticmethod
    def of(outside: Sequence[_Outside]) -> _Trust:
        known = [said.count > 0 for said in outside]
        freedom = sum(float(np.maximum(said.count - 1, 0).sum()) for said in outside)
        between = sum(float((said.mean[k] ** 2).sum()) for said, k in zip(outside, known, strict=True))
        means = sum(float((1 / said.count[k]).sum()) for said, k in zip(outside, known, strict=True))
        weight = sum(float(k.sum()) for k in known)
        noise = max(sum(said.within for said in outside) / freedom, 1e-6) if freedom else 0.5
        spread = max((between - noise * means) / weight, 1e-6) if weight else 1e-6
        return _Trust(spread, noise)

    def share(self, count: np.ndarray) -> np.ndarray:
        """The share of a mean of ``count`` values that is believed, the rest being noise."""
        share: np.ndarray = np.where(count > 0, self.spread / (self.spread + self.noise / np.maximum(count, 1)), 0.0)
        return share


def _standard(embeddings: np.ndarray) -> np.ndarray:
    """(K, P, n, n) cosines of each person's photos (K, P, n, D), NaN of a photo with itself."""
    found: np.ndarray = (embeddings @ embeddings.transpose(0, 1, 3, 2)).astype(np.float32)
    n = found.shape[-1]
    found[..., np.arange(n), np.arange(n)] = np.nan
    return found


def _moments(similar: np.ndarray) -> tuple[float, float, float]:
    """Count, sum and sum of squares of what is known of (n, others) similarities."""
    known = similar[np.isfinite(similar)].astype(np.float64)
    return float(len(known)), float(known.sum()), float((known**2).sum())


def _of_photos(similar: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """(P, n, COLUMNS) from similarities and excesses (P, n, n) of each person's photos.

    Quantiles of both over the other photos; the mean excess, the person's mean, and what is between; and the photo's place on
    the axis along which the person's photos differ most (where some were trained on, those gather at one end).
    """
    mean = _mean(excess, 2)
    person = np.broadcast_to(_mean(mean, 1)[:, None], mean.shape)
    found = [*_quantiles(excess), *_quantiles(similar), mean, person, mean - person, _axis(excess - person[..., None], mean)]
    return np.stack(found, axis=2)


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis)
    result: np.ndarray = np.where(count > 0, np.where(known, values, 0.0).sum(axis) / np.maximum(count, 1), np.nan)
    return result


def _quantiles(values: np.ndarray) -> np.ndarray:
    """(5, P, n) of each photo's known values (P, n, n), by straight lines between the sorted ones; NaN where none is known."""
    ordered = np.sort(values, axis=2)  # NaN last
    last = np.isfinite(values).sum(2) - 1
    place = np.maximum(last, 0) * np.array(QUANTILES)[:, None, None]
    lower = np.floor(place).astype(int)
    upper = np.minimum(lower + 1, np.maximum(last, 0))
    low, high = (np.take_along_axis(ordered[None], at[..., None], axis=3)[..., 0] for at in (lower, upper))
    found: np.ndarray = low + (place - lower) * (high - low)
    return found


def _axis(excess: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(P, n) the leading eigenvector of each person's excesses, turned so that it goes with the mean excess (P, n)."""
    filled = np.nan_to_num(excess)
    vector = np.linalg.eigh((filled + filled.transpose(0, 2, 1)) / 2)[1][:, :, -1]
    turn = np.where((vector * np.nan_to_num(mean)).sum(1, keepdims=True) < 0, -1.0, 1.0)
    result: np.ndarray = np.where(np.isfinite(mean), vector * turn, np.nan)
    return result
