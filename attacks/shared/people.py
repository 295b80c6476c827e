"""Helpers of attacks that judge people: photos grouped by person, and one score for all photos of a person.

An attack on people gives every photo of a person the person's score.  Metrics resample people, so that intervals are those
of as many independent scores as there are people; AUC and TPR weigh a person by the number of photos, which a track's roles
make the same for everyone on a contrast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from benchmark.interfaces import Contrast, Knowledge, MembershipAttack, NotApplicableError, SignalRequest, Signals

FEWEST = 8  # people of each kind that a classifier of people is fitted on, at least


class PeopleAttack(MembershipAttack):
    """Base of attacks that learn from people and give each of a person's photos the person's score."""

    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.IDENTITY, Contrast.PAPER)
    needs_gallery: ClassVar[bool] = True

    knowledge: Literal[Knowledge.PARTIAL, Knowledge.AUXILIARY] = Knowledge.PARTIAL


@dataclass(frozen=True)
class PeopleCosines:
    """Cosines of all pairs of photos of one model, photos sorted by person.

    ``order`` (N,) are the positions of the sorted photos in the signals; ``start`` (P + 1,) each person's first sorted photo.
    """

    cosines: np.ndarray
    order: np.ndarray
    start: np.ndarray

    @classmethod
    def of(cls, signals: Signals, request: SignalRequest, pixels: SignalRequest | None = None) -> PeopleCosines:
        """From signals of one model; with ``pixels``, photos of a person are in an order that follows from the pictures."""
        tie = np.zeros(len(signals)) if pixels is None else np.asarray(signals[pixels])[:, :8] @ np.arange(1.0, 9.0)
        order = np.lexsort((tie, signals.identity))
        people = np.unique(signals.identity)
        start = np.append(np.searchsorted(signals.identity[order], people), len(order))
        return cls(signals.cosines(request, order, order), order, start)

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def counts(self) -> np.ndarray:
        """(P,) photos of each person."""
        return np.diff(self.start)

    def photos(self, person: int) -> slice:
        """The sorted photos of a person."""
        return slice(self.start[person], self.start[person + 1])

    def per_photo(self, scores: np.ndarray) -> np.ndarray:
        """(N,) scores of photos in the signals' order from scores of people (P,)."""
        found = np.empty(len(self.order))
        found[self.order] = np.repeat(scores, self.counts)
        return found

    def thinned(self, photos: int, rng: np.random.Generator) -> PeopleCosines:
        """With at most ``photos`` photos of each person, drawn by ``rng``."""
        kept = [np.sort(rng.permutation(np.arange(a, b))[:photos]) for a, b in zip(self.start, self.start[1:], strict=False)]
        index = np.concatenate(kept)
        start = np.concatenate([[0], np.cumsum([len(k) for k in kept])])
        return PeopleCosines(self.cosines[np.ix_(index, index)], self.order[index], start)


def models(signals: Signals) -> list[np.ndarray]:
    """Rows of each model whose signals stand one after the other; photos are compared within a model only."""
    if not len(signals.group):
        return [np.arange(len(signals))]
    return [np.flatnonzero(signals.group == g) for g in np.unique(signals.group)]


def require_photos(counts: np.ndarray, least: int, what: str) -> None:
    """Raises :class:`NotApplicableError` where people have fewer than ``least`` photos."""
    few = int((counts < least).sum())
    if few:
        raise NotApplicableError(f"{few} of {len(counts)} people have fewer than {least} photos; {what}.")


def require_people(labels: np.ndarray) -> None:
    """Raises :class:`NotApplicableError` where there are too few people (P,) of either kind to learn from."""
    members, others = int((labels == 1).sum()), int((labels == 0).sum())
    if min(members, others) < FEWEST:
        raise NotApplicableError(
            f"{members} members and {others} others of known membership are too few to learn from ({FEWEST} of each)."
        )


def person_labels(identity: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(P,) labels of people, in the order of their sorted identities, from labels of their photos (N,).

    Raises:
        NotApplicableError: photos of one person carry different labels, as they do on the sample contrast.
    """
    _, first, person = np.unique(identity, return_index=True, return_inverse=True)
    if (labels[first][person] != labels).any():
        raise NotApplicableError("photos of one person differ in membership: an attack on people has no meaning there.")
    return labels[first]
