"""Which of a person's photos were trained on, inferred together.

The photos that a person's class was trained on gather around one centre that they themselves define.  So each possible subset
of a person's photos is a hypothesis: its mean is the centre, the photos inside must lie as close to it as trained ones do, and
those outside as far as others do.  How close that is comes from an earlier guess, labels or shadow backbones; how many photos a
person has inside is learned from all people at once by expectation-maximisation.

The densities are not learned in the same way.  Each hypothesis has a centre of its own, and with it logits of its own, so that
their product is no likelihood of the embeddings: left to itself, expectation-maximisation finds densities under which all
photos make one narrow cloud.  With 250 people it did so on all four backbones looked at.

The guess takes the upper half of each person's photos for inside: where far more or fewer are, the counts learned lean
towards half, and labels or shadows serve better.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from attacks.shared.centres import blocks, person_sums, unit
from attacks.shared.densities import BINS, Densities, fitted_densities, gaussian_densities, guessed_densities
from attacks.shared.subsets import Group, Kept, SizePrior, chunks, groups, normalised, photo_odds, size_counts, small

__all__ = ["Densities", "JointInference", "fitted_densities", "gaussian_densities", "known_logits"]

ROUNDS = 15


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
        self._groups = groups(embeddings, person, others, start, scale)
        self._photos = (embeddings, person, others)
        self._scale = scale
        self._person, self._start, self._small = person, start, small(person)
        self._prior = SizePrior(learn_sizes)

    def learn(self, known: Densities | None = None) -> Densities:
        """The densities inside and outside (those given, or guessed), and, from these photos, the prior of sizes."""
        densities = known or self._guessed()
        likelihoods = self._likelihoods(densities)
        for _ in range(ROUNDS):
            self._learn_sizes((g, normalised(found + self._prior(g))) for g, found in likelihoods)
        return densities

    def _guessed(self) -> Densities:
        """Densities under which the photos of the first guess would be those inside."""
        embeddings, person, others = self._photos
        inside = self._first_guess()
        return guessed_densities(known_logits(embeddings, person, others, inside, self._scale), inside)

    def _likelihoods(self, densities: Densities) -> Kept[tuple[Group, np.ndarray]]:
        """Each group with the log-likelihoods (P, S) of its hypotheses, without the prior."""
        return Kept(lambda: ((g, densities.log_likelihoods(g)) for g in self._groups), self._small)

    def _first_guess(self) -> np.ndarray:
        """(N,) bool: of each person's photos those above the median pass for inside."""
        above = np.zeros(len(self._start), bool)
        for rows in chunks(self._person):
            own = self._start[rows]
            above[rows] = own > np.median(own, axis=1, keepdims=True)
        return above

    def _learn_sizes(self, posteriors: Iterable[tuple[Group, np.ndarray]]) -> None:
        sizes: dict[int, np.ndarray] = {}
        for group, posterior in posteriors:
            n = group.rows.shape[1]
            sizes[n] = sizes.get(n, np.zeros(n + 1)) + size_counts(group, posterior)
        self._prior.learn(sizes)

    def log_odds(self, densities: Densities) -> np.ndarray:
        """(N,) log P(inside) - log P(outside)."""
        result = np.empty(len(self._person))
        for group in self._groups:
            result[group.rows] = photo_odds(group.inside, densities.log_likelihoods(group) + self._prior(group))
        return result


def grid_over(found: Iterable[Group]) -> np.ndarray:
    """(BINS,) cells over the logits of all groups."""
    low, high = np.inf, -np.inf
    for group in found:
        low, high = min(low, group.logits.min()), max(high, group.logits.max())
    return np.linspace(low - 1, high + 1, BINS)


def known_logits(
    embeddings: np.ndarray, person: np.ndarray, others: np.ndarray, inside: np.ndarray, scale: float
) -> np.ndarray:
    """(N,) logits under the one true hypothesis: centres of the photos known to be inside, the photo itself left out.

    Photos of a person with no other photo inside have no centre: NaN.
    """
    sums = person_sums(embeddings, person, inside)
    voters = np.bincount(person[inside], minlength=len(sums))[person] - inside
    own = np.empty(len(embeddings))
    for block in blocks(len(embeddings)):
        vectors = embeddings[block]
        own[block] = (vectors * unit(sums[person[block]] - vectors * inside[block, None])).sum(1)
    return np.where(voters > 0, scale * own - others, np.nan)
