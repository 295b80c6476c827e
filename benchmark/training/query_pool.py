"""What a shadow of the query pool trains on: random halves of the population that is asked about.

The strongest setting of membership inference (LiRA, arXiv 2112.03570): every photo, or every person, that is asked about is
inside one half of the shadows and outside the other, so that each can be judged by its own two distributions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.data.populations import HELD_OUT, SEEN, UNSEEN, Populations


@dataclass(frozen=True)
class Half:
    """One shadow's training photos, and what of the queried photos they cover."""

    pairs: np.ndarray  # (n, 2) identity, photo
    inside: np.ndarray  # (N,) bool over Populations.queried


def photo_half(populations: Populations, number: int) -> Half:
    """Half of each member's photos, seen or not, so that the person is always present (sample contrast).

    Shadows 2k and 2k + 1 are complements: where as many photos are seen as unseen, every photo is inside exactly one of them.
    """
    pairs, of_member = populations.queried_pairs, np.isin(populations.side, (SEEN, UNSEEN))
    inside = np.zeros(len(pairs), bool)
    rng = np.random.default_rng([populations.track.split_seed, 103, number // 2])
    for person in np.unique(pairs[of_member, 0]):
        photos = rng.permutation(np.flatnonzero(of_member & (pairs[:, 0] == person)))
        inside[photos[number % 2 :: 2]] = True
    return Half(pairs[inside], inside)


def people_half(populations: Populations, number: int) -> Half:
    """Half of the members and half of the held-out people, on photos that are not asked about (identity contrast).

    Inside are the queried photos of the people it trained on.  Shadows 2k and 2k + 1 are complements.
    """
    identity = populations.queried_pairs[:, 0]
    rng = np.random.default_rng([populations.track.split_seed, 104, number // 2])
    halves = [rng.permutation(np.unique(identity[populations.side == side]))[number % 2 :: 2] for side in (UNSEEN, HELD_OUT)]
    people = np.concatenate(halves)
    companions = populations.companions
    return Half(companions[np.isin(companions[:, 0], people)], np.isin(identity, people))
