"""Who plays which role: disjoint sets of people, drawn by a pure function of data set, roles and seed."""

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
MINIMUM_PEOPLE = {"pool": 16, "verification": 4, "public": 8, "auxiliary": 8, "judges": 2}
PhotoCounts = Mapping[int, int] | np.ndarray

# The first person of each role among procedural people, of whom there are as many as wanted.  A role that grows moves no
# other one, and all synthetic tracks share their auxiliary people: those whom the shipped generator was trained on.
FIRST_PERSON = {"pool": 0, "auxiliary": 1250, "verification": 10_000, "judges": 20_000, "public": 30_000}


@dataclass(frozen=True, eq=False)
class Split:
    """Photos per role, each (n, 2) int64 rows of (identity, photo index within the identity), sorted.

    The sets of people are disjoint.  Which of the ``pool`` a backbone trains on: :mod:`benchmark.data.memberships`.
    """

    pool: np.ndarray
    verification: np.ndarray
    public: np.ndarray
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

    People are eligible for the ``pool`` when they have at least ``photos`` photos; exactly that many are drawn, so that
    no contrast can be told by who has many photos.  ``auxiliary`` people (up to ``photos`` photos each) come from the same
    people as far as they go, after that, like ``verification`` people (up to ``verification_photos``) and ``public`` ones (up
    to ``photos``), from those with 2 photos or more.  ``judges`` are drawn from those left, with all their photos.

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
    asked, full = full[: roles.pool], full[roles.pool :]
    auxiliary, full = full[: roles.auxiliary], full[roles.auxiliary :]
    rest = rng.permutation(np.concatenate([full, some]))
    sizes = [roles.verification, roles.auxiliary - len(auxiliary), roles.public]
    verification, more, public, rest = np.split(rest, np.cumsum(sizes))
    judges = np.concatenate([rest, single])[: roles.judges]
    people = {
        "pool": asked,
        "verification": verification,
        "public": public,
        "auxiliary": np.concatenate([auxiliary, more]),
        "judges": judges,
    }
    return _draw_photos(counts.__getitem__, roles, rng, people)


def split_synthetic(roles: Roles, *, seed: int) -> Split:
    """The split of procedural people, of whom there are as many as roles ask for: numbered from ``FIRST_PERSON`` on.

    A person has ``photos`` photos (for verification ``verification_photos``).

    Raises:
        FaceVeilError: more people asked for in a role than there is room for before the next one.
    """
    starts = sorted(FIRST_PERSON.values())
    people = {}
    for role, first in FIRST_PERSON.items():
        room = next((start - first for start in starts if start > first), None)
        size = getattr(roles, role)
        if room is not None and size > room:
            raise FaceVeilError(f"{size} {role} people asked for; a synthetic track has room for {room}.")
        people[role] = np.arange(first, first + size)
    of_verification = set(people["verification"].tolist())

    def photos(person: int) -> int:
        return roles.verification_photos if person in of_verification else roles.photos

    return _draw_photos(photos, roles, _generator("synthetic", "", seed), people)


def fit_roles(photo_counts: PhotoCounts, roles: Roles) -> Roles:
    """``roles`` with the numbers of people scaled down, all by the same factor, to what a data set can give.

    The factor is the largest m / ``pool`` (m whole, at most ``pool``) at which :func:`split_people` succeeds; counts
    are rounded down, but not below ``MINIMUM_PEOPLE`` (or the role's own count, where that is less).  Photos per person
    are left as they are: they say what is measured.

    Raises:
        FaceVeilError: not even the minimum is there.
    """
    pools = _Pools.of(_as_mapping(photo_counts), roles)
    bound = min([Fraction(1), *(Fraction(there, needed) for _, needed, there in pools.demands(roles))])
    scaled = roles
    for pool in range(max(1, int(roles.pool * bound)), -1, -1):
        scaled = roles.model_copy(update={role: _scaled(roles, role, pool) for role in MINIMUM_PEOPLE})
        if not pools.shortages(scaled):
            return scaled
    raise FaceVeilError(_too_few(scaled, pools.shortages(scaled)))


def _scaled(roles: Roles, role: str, pool: int) -> int:
    people: int = getattr(roles, role)
    return max(people * pool // roles.pool, min(people, MINIMUM_PEOPLE[role]))


@dataclass(frozen=True)
class _Pools:
    """People by how many photos they have: ``full`` as many as the pool needs, ``some`` >= 2, ``single`` one."""

    full: np.ndarray
    some: np.ndarray
    single: np.ndarray

    @staticmethod
    def of(counts: Mapping[int, int], roles: Roles) -> _Pools:
        whole = roles.photos
        people = np.array(sorted(counts), np.int64)
        photos = np.array([counts[person] for person in people.tolist()], np.int64)
        return _Pools(people[photos >= whole], people[(photos >= 2) & (photos < whole)], people[photos == 1])

    def demands(self, roles: Roles) -> list[tuple[str, int, int]]:
        """(what, people needed, people there): necessary, and enough for the order in which the split draws."""
        some = roles.verification + roles.public + roles.auxiliary
        needed = np.cumsum([roles.pool, some, roles.judges]).tolist()
        there = np.cumsum([len(self.full), len(self.some), len(self.single)]).tolist()
        return [
            (f"pool: people with >= {roles.photos} photos", needed[0], there[0]),
            ("these with verification, public and auxiliary: people with >= 2 photos", needed[1], there[1]),
            ("these with judges: people with a photo", needed[2], there[2]),
        ]

    def shortages(self, roles: Roles) -> list[str]:
        return [f"{what}: {needed} needed, {there} there" for what, needed, there in self.demands(roles) if needed > there]


def _too_few(roles: Roles, shortages: Iterable[str]) -> str:
    wanted = ", ".join(f"{role} {getattr(roles, role)}" for role in MINIMUM_PEOPLE)
    lines = "\n".join(f"  {shortage}" for shortage in shortages)
    return (
        f"the data set has too few people for the roles ({wanted}):\n{lines}\n"
        f"choose a track with fewer people or with fewer than {roles.photos} photos a person, or give a larger data set"
    )


def _as_mapping(photo_counts: PhotoCounts) -> Mapping[int, int]:
    if isinstance(photo_counts, Mapping):
        return photo_counts
    return dict(enumerate(np.asarray(photo_counts).tolist()))


def _generator(kind: str, dataset_digest: str, seed: int) -> np.random.Generator:
    entropy = hashlib.sha256(f"{kind}\n{dataset_digest}\n{seed}".encode()).digest()
    return np.random.default_rng(list(np.frombuffer(entropy, "<u4")))


def _draw_photos(
    photos: Callable[[int], int], roles: Roles, rng: np.random.Generator, people: Mapping[str, np.ndarray]
) -> Split:
    """Photos of the ``people`` of each role, drawn at random, role by role in the order of :class:`Split`."""
    most = {"verification": roles.verification_photos, "judges": None}

    def draw(role: str) -> np.ndarray:
        parts = [
            _rows(person, rng.permutation(photos(person))[: most.get(role, roles.photos)])
            for person in np.sort(people[role]).tolist()
        ]
        return _stack(parts) if parts else np.zeros((0, 2), np.int64)

    return Split(**{role.name: draw(role.name) for role in fields(Split)})


def _rows(person: int, photos: np.ndarray) -> np.ndarray:
    return np.column_stack([np.full(len(photos), person), photos]).astype(np.int64)


def _stack(parts: list[np.ndarray]) -> np.ndarray:
    rows = np.concatenate(parts)
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))]
