"""Hypotheses about which of a person's photos were trained on: subsets, their logits, and what a posterior over them says."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Generic, TypeVar

import numpy as np

EXHAUSTIVE = 8  # photos a person up to which every subset is tried
CHUNK = 1 << 16  # logits at once: about what a processor's cache holds
KEPT = 1 << 22  # logits up to which what no round changes is computed once and kept (some 150 MB)

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """People with equally many photos, and the logits of those photos under every hypothesis.

    ``rows`` (P, n) are positions of the photos, ``inside`` (P or 1, S, n) the hypotheses, ``logits`` (P, S, n).
    """

    rows: np.ndarray
    inside: np.ndarray
    logits: np.ndarray

    @cached_property
    def sizes(self) -> np.ndarray:
        """(P or 1, S) photos inside."""
        result: np.ndarray = self.inside.sum(2)
        return result

    @cached_property
    def log_alike(self) -> np.ndarray:
        """(P or 1, S) log of the number of hypotheses about the same person with as many photos inside."""
        counts = np.stack([(self.sizes == k).sum(1) for k in range(self.inside.shape[2] + 1)], axis=1)
        result: np.ndarray = np.log(np.take_along_axis(counts, self.sizes, axis=1))
        return result


class Kept(Generic[T]):
    """Something to go through many times: a list where it is small, made again each time where it would fill the memory."""

    def __init__(self, make: Callable[[], Iterator[T]], small: bool) -> None:
        self._make = make
        self._items = list(make()) if small else None

    def __iter__(self) -> Iterator[T]:
        return self._make() if self._items is None else iter(self._items)


@lru_cache(maxsize=EXHAUSTIVE)
def every_subset(n: int) -> np.ndarray:
    """(1, 2^n, n) bool."""
    return np.array(list(itertools.product((False, True), repeat=n)))[None]


def hypotheses(order: np.ndarray) -> np.ndarray:
    """Subsets of n photos, (P or 1, S, n) bool; none inside means that the person was never trained on.

    Up to ``EXHAUSTIVE`` photos all of them.  Beyond, for each person the first k photos of ``order`` (P, n), most likely
    first, for every k, and each of these with any one photo changed sides.
    """
    people, n = order.shape
    if n <= EXHAUSTIVE:
        return every_subset(n)
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
    weights = voting.astype(np.float64)
    # A sum of photos enters by its products with single photos only, so that the photos' Gram matrix (n, n) is all it takes.
    products = weights @ (embeddings @ embeddings.transpose(0, 2, 1))  # (P, S, n)
    squares = (products * weights).sum(-1, keepdims=True)
    # With the photo left out: (sum - x) . x / |sum - x|, and |sum - x|^2 = |sum|^2 - 2 sum . x + 1.
    lengths = squares - weights * (2 * products - 1)
    cosines: np.ndarray = (products - weights) / np.sqrt(np.maximum(lengths, 1e-12, out=lengths))
    alone = voting & (weights.sum(-1, keepdims=True) == 1)
    cosines[np.broadcast_to(alone, cosines.shape)] = 0.0
    cosines *= scale
    cosines -= others[:, None]
    return cosines


def groups(embeddings: np.ndarray, person: np.ndarray, others: np.ndarray, order_by: np.ndarray, scale: float) -> Kept[Group]:
    """The people, in chunks with equally many photos.

    Args: see :class:`~attacks.shared.joint_inference.JointInference`; ``order_by`` (N,) logits of an earlier guess, which
        choose the subsets that are tried where a person has many photos.
    """

    def make() -> Iterator[Group]:
        for rows in chunks(person):
            inside = hypotheses(np.argsort(-order_by[rows], axis=1, kind="stable"))
            yield Group(rows, inside, subset_logits(embeddings[rows], inside, others[rows], scale))

    return Kept(make, small(person))


def small(person: np.ndarray) -> bool:
    """Whether the logits of all people (N,) under all hypotheses may be kept."""
    photos, people = np.unique(np.bincount(person), return_counts=True)
    return bool(sum(int(p) * n * subsets(n) for n, p in zip(photos.tolist(), people, strict=True) if n) <= KEPT)


def chunks(person: np.ndarray) -> Iterator[np.ndarray]:
    """Rows (P, n) of some people with n photos each, about ``CHUNK`` logits at once."""
    by_person = np.argsort(person, kind="stable")
    counts = np.bincount(person)
    starts = np.concatenate([[0], np.cumsum(counts)])
    for n in np.unique(counts[counts > 0]).tolist():
        people = np.flatnonzero(counts == n)
        step = max(1, CHUNK // (n * subsets(n)))
        for first in range(0, len(people), step):
            yield by_person[starts[people[first : first + step]][:, None] + np.arange(n)]


def subsets(n: int) -> int:
    """Hypotheses about a person with n photos, at most."""
    return 2**n if n <= EXHAUSTIVE else n * (n + 1)


class SizePrior:
    """How probable it is that k of n photos are inside: one number for each n and k, learned.

    With ``learned=False`` every subset is as probable as any other: each photo tosses a coin of its own.
    """

    def __init__(self, learned: bool = True) -> None:
        self._learned = learned
        self._log: dict[int, np.ndarray] = {}

    def __call__(self, group: Group) -> np.ndarray:
        """(P or 1, S) log-probability of each hypothesis, equal among those of one size."""
        n = group.inside.shape[2]
        if not self._learned:
            return np.zeros(group.inside.shape[:2])
        result: np.ndarray = self._log.get(n, np.zeros(n + 1))[group.sizes] - group.log_alike
        return result

    def learn(self, counts: dict[int, np.ndarray]) -> None:
        """Takes posterior counts (n + 1,) of each size, by n."""
        self._log = {n: np.log(c + 1e-6 * c.sum() + 1e-12) - np.log(c.sum() + 1e-12) for n, c in counts.items()}


def normalised(likelihood: np.ndarray) -> np.ndarray:
    """(P, S) posterior of each person's hypotheses from their log-likelihoods."""
    shares: np.ndarray = np.exp(likelihood - likelihood.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return shares


def log_total(likelihood: np.ndarray) -> np.ndarray:
    """(P,) log of the sum of each person's likelihoods (P, S)."""
    largest = likelihood.max(1, keepdims=True)
    result: np.ndarray = np.log(np.exp(likelihood - largest).sum(1)) + largest[:, 0]
    return result


def size_counts(group: Group, posterior: np.ndarray) -> np.ndarray:
    """(n + 1,) people with each number of photos inside, by the posterior (P, S) of their hypotheses."""
    size = np.broadcast_to(group.sizes, posterior.shape)
    return np.bincount(size.ravel(), posterior.ravel(), group.inside.shape[2] + 1)


def photo_odds(inside: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
    """(P, n) log-odds of each photo being inside, from the likelihoods (P, S) of hypotheses ``inside`` (P or 1, S, n)."""
    shares = np.exp(np.maximum(likelihood - likelihood.max(1, keepdims=True), -700))[:, None]  # both sums stay above 0
    with np.errstate(divide="ignore"):
        odds = np.log(shares @ inside.astype(np.float64)) - np.log(shares @ (~inside).astype(np.float64))
    result: np.ndarray = np.nan_to_num(odds[:, 0], neginf=-1e3, posinf=1e3)
    return result
