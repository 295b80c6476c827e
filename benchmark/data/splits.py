"""Who plays which role: five disjoint sets of people, drawn by a pure function of data set, roles and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property

import numpy as np

from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import Roles

# Below these a set of people says nothing: intervals would span everything, a panel would know nobody.
MINIMUM_PEOPLE = {"members": 8, "held_out": 8, "verification": 4, "auxiliary": 8, "judges": 2}
PhotoCounts = Mapping[int, int] | np.ndarray


@dataclass(frozen=True, eq=False)
class Split:
    """Photos per role, each (n, 2) int64 rows of (identity, photo index within the identity), sorted.

    ``members_seen`` and ``members_unseen`` show the same people; the sets of people are disjoint otherwise.
    """

    members_seen: np.ndarray
    members_unseen: np.ndarray
    held_out: np.ndarray
    verification: np.ndarray
    auxiliary: np.ndarray
    judges: np.ndarray

    @cached_property
    def digest(self) -> str:
        """sha256 over all roles."""
        total = hashlib.sha256()
        for role in fields(self):
            rows = getattr(self, role.name)
            total.update(f"{role.name} {len(rows)}\n".encode() + rows.astype("<i8").tobytes())
        return total.hexdigest()


def split_people(photo_counts: PhotoCounts, roles: Roles, *, dataset_digest: str, seed: int) -> Split:
    """The split of a data set.

    People are eligible for ``members`` and ``held_out`` alike when they have at least ``seen + unseen`` photos, so that no
    contrast can be told by who has many photos; of a held-out person exactly ``unseen`` photos are taken, drawn at
    random as those of members are.  ``auxiliary`` people (up to ``seen + unseen`` photos each) come from the same pool as
    far as it goes, after that, like ``verification`` people (up to ``verification_photos``), from those with 2 photos or
    more.  ``judges`` are drawn from who is left, with all their photos.

    Args:
        photo_counts: photos per person: (P,) int for people 0..P-1, or a mapping from person to count.
        roles: people and photos per role.
        dataset_digest: content hash of the data set: another data set is drawn anew.
        seed: of the track.

    Raises:
        FaceVeilError: too few people or photos; says what each role needs and what is there.
    """
    counts = _as_mapping(photo_counts)
    pools = _Pools.of(counts, roles)
    if shortages := pools.shortages(roles):
        raise FaceVeilError(_too_few(roles, shortages))
    rng = _generator("people", dataset_digest, seed)
    full, some, single = (rng.permutation(pool) for pool in (pools.full, pools.some, pools.single))
    members, held_out, full = np.split(full, [roles.members, roles.members + roles.held_out])
    auxiliary, full = full[: roles.auxiliary], full[roles.auxiliary :]
    rest = rng.permutation(np.concatenate([full, some]))
    verification, more, rest = np.split(rest, np.cumsum([roles.verification, roles.auxiliary - len(auxiliary)]))
    judges = np.concatenate([rest, single])[: roles.judges]
    return _draw_photos(
        counts.__getitem__, roles, rng, members, held_out, verification, np.concatenate([auxiliary, more]), judges
    )


def split_synthetic(roles: Roles, *, seed: int) -> Split:
    """The split of procedural people, of whom there are as many as roles ask for: identities 0, 1, 2, ... role by role.

    A person has ``seen + unseen`` photos (for verification ``verification_photos``); which of a member's are seen, and which
    of a held-out person's are asked about, is drawn at random.
    """
    sizes = [roles.members, roles.held_out, roles.verification, roles.auxiliary, roles.judges]
    ends = np.cumsum(sizes)
    people = np.split(np.arange(ends[-1]), ends[:-1])
    first, last = ends[1], ends[2]

    def photos(person: int) -> int:
        return roles.verification_photos if first <= person < last else roles.seen + roles.unseen

    return _draw_photos(photos, roles, _generator("synthetic", "", seed), *people)


def fit_roles(photo_counts: PhotoCounts, roles: Roles) -> Roles:
    """``roles`` with the numbers of people scaled down, all by the same factor, to what a data set can give.

    The factor is the largest m / ``members`` (m whole, at most ``members``) at which :func:`split_people` succeeds; counts
    are rounded down, but not below ``MINIMUM_PEOPLE`` (or the role's own count, where that is less).  Photos per person
    are left as they are: they say what is measured.

    Raises:
        FaceVeilError: not even the minimum is there.
    """
    pools = _Pools.of(_as_mapping(photo_counts), roles)
    bound = min([Fraction(1), *(Fraction(there, needed) for _, needed, there in pools.demands(roles))])
    scaled = roles
    for members in range(max(1, int(roles.members * bound)), -1, -1):
        scaled = roles.model_copy(update={role: _scaled(roles, role, members) for role in MINIMUM_PEOPLE})
        if not pools.shortages(scaled):
            return scaled
    raise FaceVeilError(_too_few(scaled, pools.shortages(scaled)))


def _scaled(roles: Roles, role: str, members: int) -> int:
    people: int = getattr(roles, role)
    return max(people * members // roles.members, min(people, MINIMUM_PEOPLE[role]))


@dataclass(frozen=True)
class _Pools:
    """People by how many photos they have: ``full`` >= seen + unseen, ``some`` >= 2, ``single`` one."""

    full: np.ndarray
    some: np.ndarray
    single: np.ndarray

    @staticmethod
    def of(counts: Mapping[int, int], roles: Roles) -> _Pools:
        whole = roles.seen + roles.unseen
        people = np.array(sorted(counts), np.int64)
        photos = np.array([counts[person] for person in people.tolist()], np.int64)
        return _Pools(people[photos >= whole], people[(photos >= 2) & (photos < whole)], people[photos == 1])

    def demands(self, roles: Roles) -> list[tuple[str, int, int]]:
        """(what, people needed, people there): necessary, and enough for the order in which the split draws."""
        needed = np.cumsum([roles.members + roles.held_out, roles.verification + roles.auxiliary, roles.judges]).tolist()
        there = np.cumsum([len(self.full), len(self.some), len(self.single)]).tolist()
        whole = roles.seen + roles.unseen
        return [
            (f"members and held_out: people with >= {whole} photos", needed[0], there[0]),
            ("these with verification and auxiliary: people with >= 2 photos", needed[1], there[1]),
            ("these with judges: people with a photo", needed[2], there[2]),
        ]

    def shortages(self, roles: Roles) -> list[str]:
        return [f"{what}: {needed} needed, {there} there" for what, needed, there in self.demands(roles) if needed > there]


def _too_few(roles: Roles, shortages: Iterable[str]) -> str:
    wanted = ", ".join(f"{role} {getattr(roles, role)}" for role in MINIMUM_PEOPLE)
    lines = "\n".join(f"  {shortage}" for shortage in shortages)
    return (
        f"the data set has too few people for the roles ({wanted}):\n{lines}\n"
        f"choose a track with fewer people or with fewer than {roles.seen} + {roles.unseen} photos a person, or give a "
        "larger data set"
    )


def _as_mapping(photo_counts: PhotoCounts) -> Mapping[int, int]:
    if isinstance(photo_counts, Mapping):
        return photo_counts
    return dict(enumerate(np.asarray(photo_counts).tolist()))


def _generator(kind: str, dataset_digest: str, seed: int) -> np.random.Generator:
    entropy = hashlib.sha256(f"{kind}\n{dataset_digest}\n{seed}".encode()).digest()
    return np.random.default_rng(list(np.frombuffer(entropy, "<u4")))


def _draw_photos(
    photos: Callable[[int], int],
    roles: Roles,
    rng: np.random.Generator,
    members: np.ndarray,
    held_out: np.ndarray,
    verification: np.ndarray,
    auxiliary: np.ndarray,
    judges: np.ndarray,
) -> Split:
    whole = roles.seen + roles.unseen

    def draw(people: np.ndarray, most: int | None) -> list[np.ndarray]:
        """Per person, in order, up to ``most`` (identity, photo) rows at random."""
        return [_rows(person, rng.permutation(photos(person))[:most]) for person in np.sort(people).tolist()]

    of_members = draw(members, whole)
    return Split(
        members_seen=_stack([rows[: roles.seen] for rows in of_members]),
        members_unseen=_stack([rows[roles.seen :] for rows in of_members]),
        held_out=_stack(draw(held_out, roles.unseen)),
        verification=_stack(draw(verification, roles.verification_photos)),
        auxiliary=_stack(draw(auxiliary, whole)),
        judges=_stack(draw(judges, None)),
    )


def _rows(person: int, photos: np.ndarray) -> np.ndarray:
    return np.column_stack([np.full(len(photos), person), photos]).astype(np.int64)


def _stack(parts: list[np.ndarray]) -> np.ndarray:
    rows = np.concatenate(parts)
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))]
