"""Cosines of all pairs of photos, exactly counted in constant memory.

Cosines are rounded to a lattice of 2^-18, a little coarser than the rounding of float32 products: equal scores stay equal
however the products were batched, a collapsed backbone ties instead of being sorted by rounding errors, and all pairs of any
number of photos reduce exactly to two histograms of fixed size.  A position on the lattice is called a code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmark.interfaces import FaceVeilError

LATTICE = 2**18  # steps per unit of cosine
CODES = 2 * LATTICE + 1
BLOCK = 2**20  # cosines computed at once


@dataclass(frozen=True)
class EmbeddingSet:
    """Unit embeddings (N, D) float32, the photos of a person adjacent, people numbered 0..P-1 in sorted order."""

    unit: np.ndarray
    person: np.ndarray  # (N,)
    start: np.ndarray  # (P + 1,) each person's first photo, and N

    @classmethod
    def of(cls, unit: np.ndarray, identity: np.ndarray) -> EmbeddingSet:
        """From unit embeddings and people in any order; photos of a person keep theirs."""
        people, person = np.unique(identity, return_inverse=True)
        order = np.argsort(person, kind="stable")
        return cls(unit[order], person[order], np.searchsorted(person[order], np.arange(len(people) + 1)))

    def take(self, people: np.ndarray) -> EmbeddingSet:
        """The photos of some people, who are numbered anew."""
        keep = np.isin(self.person, people)
        return EmbeddingSet.of(self.unit[keep], self.person[keep])

    @property
    def size(self) -> np.ndarray:
        """Photos of each person (P,)."""
        return np.diff(self.start)

    def cosines(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Cosines (M,) of given pairs of photos."""
        return cosine(codes(np.einsum("nd,nd->n", self.unit[first], self.unit[second])))


@dataclass(frozen=True)
class PairBlock:
    """Photos ``begin``.. against all photos from ``begin`` on, with masks that name each pair once."""

    begin: int
    codes: np.ndarray  # (B, N - begin)
    same: np.ndarray  # (B, N - begin) bool, pairs of one person
    different: np.ndarray  # (B, N - begin) bool, pairs of different people


def unit_length(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings (N, D) as float32 of unit length.  Raises FaceVeilError with the number that are zero or not finite."""
    values = np.asarray(embeddings, np.float32)
    if values.ndim != 2 or len(values) == 0:
        raise FaceVeilError(f"embeddings must be (N, D) with N > 0, not {values.shape}")
    norm = np.sqrt(np.einsum("nd,nd->n", values, values, dtype=np.float64))
    infinite, zero = np.count_nonzero(~np.isfinite(norm)), np.count_nonzero(norm == 0)
    if infinite or zero:
        raise FaceVeilError(
            f"{infinite} of {len(values)} embeddings are not finite and {zero} are zero, so they have no direction to compare; "
            "check the weights and the input normalisation"
        )
    result: np.ndarray = (values / norm[:, None]).astype(np.float32)
    return result


def codes(cosines: np.ndarray) -> np.ndarray:
    """Cosines as lattice positions 0..CODES-1."""
    result: np.ndarray = np.clip(np.rint((cosines + 1) * LATTICE), 0, CODES - 1).astype(np.int32)
    return result


def cosine(code: np.ndarray) -> np.ndarray:
    """Lattice positions as cosines."""
    return code / LATTICE - 1


def pair_blocks(embeddings: EmbeddingSet, people: int) -> Iterator[PairBlock]:
    """All pairs, in blocks of about ``BLOCK`` cosines whose rows are photos of at most ``people`` people."""
    person, number = embeddings.person, len(embeddings.person)
    end = embeddings.start[person + 1]
    begin = 0
    while begin < number:
        last = embeddings.start[min(person[begin] + people, len(embeddings.size))]
        stop = min(last, begin + max(1, BLOCK // (number - begin)))
        rows, columns = np.arange(begin, stop)[:, None], np.arange(begin, number)
        different = columns >= end[rows]
        same = (columns > rows) & ~different
        yield PairBlock(begin, codes(embeddings.unit[begin:stop] @ embeddings.unit[begin:].T), same, different)
        begin = stop


def histograms(embeddings: EmbeddingSet) -> tuple[np.ndarray, np.ndarray]:
    """How many same-person and different-person pairs have each code: two (CODES,)."""
    same, different = np.zeros(CODES, np.int64), np.zeros(CODES, np.int64)
    for block in pair_blocks(embeddings, len(embeddings.size)):
        same += np.bincount(block.codes[block.same], minlength=CODES)
        different += np.bincount(block.codes[block.different], minlength=CODES)
    return same, different
