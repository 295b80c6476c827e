"""Which people and photos each backbone of a population trains on: independent random halves, one draw a number.

Every number's halves are drawn without looking at any other number's.  Balanced or complementary halves would give the answer
away by counting: where every shadow holds a photo, the target does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmark.data.populations import Populations

# What a photo of `Populations.queried` is to one backbone.  SPARE: of a person who was not trained on, and left out of every
# contrast so that such a person is asked about on as many photos as a member is on unseen ones.
SEEN, UNSEEN, HELD_OUT, SPARE = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class Membership:
    """Which people and photos one backbone trains on, over the N photos of ``Populations.queried``.

    Attributes:
        number: of the backbone; 0 is the canonical split.
        person: (N,) bool, photos of people who are trained on at all.
        photo: (N,) bool, photos that are trained on; implies ``person``.
        asked: (N,) bool, photos that a contrast may ask about: all of a member's, and of a person who is not trained on a
            random part as large as a member's unseen photos.
    """

    number: int
    person: np.ndarray
    photo: np.ndarray
    asked: np.ndarray

    @cached_property
    def side(self) -> np.ndarray:
        """(N,) SEEN, UNSEEN, HELD_OUT or SPARE (not ``asked``)."""
        outside = np.where(self.asked, HELD_OUT, SPARE)
        return np.where(self.photo, SEEN, np.where(self.person, UNSEEN, outside))


def membership(populations: Populations, number: int) -> Membership:
    """The membership of backbone ``number``: half of the people, and of each of them half of the photos, rounded down.

    A pure function of the pool, the track's split seed and ``number``.
    """
    return draw(populations.queried_pairs[:, 0], populations.track.split_seed, number)


def draw(identity: np.ndarray, seed: int, number: int) -> Membership:
    """As :func:`membership`, for photos of ``identity`` (N,).

    Raises:
        ValueError: a negative number.
    """
    rng = np.random.default_rng([seed, 110, number])
    people, index, photos = np.unique(identity, return_inverse=True, return_counts=True)
    trained_on = np.zeros(len(people), bool)
    trained_on[rng.permutation(len(people))[: len(people) // 2]] = True
    person = trained_on[index]
    half = _rank(index, rng.random(len(index))) < (photos // 2)[index]  # drawn of everybody, used as the person's side says
    return Membership(number, person, person & half, person | ~half)


def _rank(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """(N,) the place of each value among those of its group, from 0."""
    order = np.lexsort((value, group))
    starts = np.concatenate([[0], np.cumsum(np.bincount(group))])
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - starts[group[order]]
    return rank
