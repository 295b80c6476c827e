from __future__ import annotations

from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.data.splits import FIRST_PERSON, MINIMUM_PEOPLE, Split, fit_roles, split_people, split_synthetic
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import Roles

ROLES = [role.name for role in fields(Split)]


def people(split: Split, role: str) -> set[int]:
    return set(getattr(split, role)[:, 0].tolist())


def same(one: Split, other: Split) -> bool:
    return all(np.array_equal(getattr(one, role), getattr(other, role)) for role in ROLES)


roles_strategy = st.builds(
    Roles,
    pool=st.integers(2, 24),
    photos=st.integers(2, 7),
    verification=st.integers(1, 8),
    public=st.integers(0, 8),
    auxiliary=st.integers(1, 12),
    judges=st.integers(1, 8),
    verification_photos=st.integers(2, 5),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Roles, np.ndarray]:
    """Roles, and photo counts that suffice for them: sometimes just so, in any order, with people to spare."""
    roles = draw(roles_strategy)
    whole = roles.photos
    full = roles.pool
    some = roles.verification + roles.public + roles.auxiliary
    counts = (
        draw(st.lists(st.integers(whole, whole + 5), min_size=full, max_size=full + 6))
        + draw(st.lists(st.integers(2, whole + 5), min_size=some, max_size=some + 6))
        + draw(st.lists(st.integers(1, whole + 5), min_size=roles.judges, max_size=roles.judges + 6))
        + draw(st.lists(st.integers(0, 1), max_size=5))
    )
    return roles, np.array(draw(st.permutations(counts)), np.int64)


@given(cases(), st.integers(0, 2**31))
@settings(max_examples=150, deadline=None)
def test_every_split_keeps_the_rules(case: tuple[Roles, np.ndarray], seed: int) -> None:
    roles, counts = case
    split = split_people(counts, roles, dataset_digest="d", seed=seed)
    whole = roles.photos
    sets = {role: people(split, role) for role in ROLES}
    assert {role: len(found) for role, found in sets.items()} == {role: getattr(roles, role) for role in ROLES}
    assert len(set().union(*sets.values())) == sum(map(len, sets.values())), "sets of people overlap"
    for role in ROLES:
        rows = getattr(split, role)
        assert rows.dtype == np.int64
        assert rows.shape[1] == 2
        assert list(map(tuple, rows.tolist())) == sorted(set(map(tuple, rows.tolist())))
        assert (rows[:, 1] < counts[rows[:, 0]]).all()
        assert (rows[:, 1] >= 0).all()
    per_person = {role: Counter(getattr(split, role)[:, 0].tolist()) for role in ROLES}
    assert set(per_person["pool"].values()) == {whole}
    assert all(n == min(counts[p], roles.verification_photos) and n >= 2 for p, n in per_person["verification"].items())
    for role in ("auxiliary", "public"):
        assert all(n == min(counts[p], whole) and n >= 2 for p, n in per_person[role].items())
    assert all(n == counts[p] for p, n in per_person["judges"].items())
    assert all(counts[p] >= whole for p in sets["pool"])
    spare = int((counts >= whole).sum()) - roles.pool
    assert sum(counts[p] >= whole for p in sets["auxiliary"]) >= min(roles.auxiliary, spare)


@given(cases(), st.integers(0, 2**31), st.randoms())
@settings(max_examples=40, deadline=None)
def test_a_split_is_a_pure_function(case: tuple[Roles, np.ndarray], seed: int, shuffle: object) -> None:
    roles, counts = case
    first = split_people(counts, roles, dataset_digest="d", seed=seed)
    items = list(enumerate(counts.tolist()))
    shuffle.shuffle(items)
    np.random.default_rng(1).random()
    again = split_people(dict(items), roles, dataset_digest="d", seed=seed)
    assert same(first, again)
    assert first.digest == again.digest


def test_seed_and_data_set_change_the_split() -> None:
    roles = Roles(pool=40, photos=4, verification=10, auxiliary=20, judges=5)
    counts = np.full(100, 6)
    splits = [split_people(counts, roles, dataset_digest=d, seed=s) for d, s in (("a", 0), ("a", 1), ("b", 0))]
    assert len({split.digest for split in splits}) == 3
    assert len({frozenset(people(split, "pool")) for split in splits}) == 3


def test_the_pool_is_drawn_like_the_attackers_people() -> None:
    """Who has many photos must tell nothing about a role, nor must a photo's place in its folder."""
    roles = Roles(pool=60, photos=4, verification=10, auxiliary=30, judges=10)
    counts = np.random.default_rng(0).geometric(0.2, 400)
    totals = {"pool": [], "auxiliary": []}
    places = []
    for seed in range(200):
        split = split_people(counts, roles, dataset_digest="d", seed=seed)
        for role, found in totals.items():
            found.extend(counts[sorted(people(split, role))])
        places.extend((split.pool[:, 1] + 0.5) / counts[split.pool[:, 0]])
    means = {role: np.mean(found) for role, found in totals.items()}
    error = np.std(totals["auxiliary"]) / np.sqrt(len(totals["auxiliary"]))
    assert abs(means["auxiliary"] - means["pool"]) < 4 * error * 2**0.5
    assert abs(np.mean(places) - 0.5) < 4 * 0.3 / np.sqrt(len(places))


def test_too_few_people_are_explained() -> None:
    roles = Roles(pool=600, photos=4, verification=100, auxiliary=200, judges=50)
    counts = np.array([4] * 500 + [2] * 200)
    with pytest.raises(FaceVeilError) as caught:
        split_people(counts, roles, dataset_digest="d", seed=0)
    text = str(caught.value)
    assert "pool: people with >= 4 photos: 600 needed, 500 there" in text
    assert "these with verification, public and auxiliary: people with >= 2 photos: 900 needed, 700 there" in text
    assert "these with judges: people with a photo: 950 needed, 700 there" in text
    assert "choose a track with fewer people" in text


@given(cases(), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_fitted_roles_can_be_split(case: tuple[Roles, np.ndarray], times: int) -> None:
    """Roles asking for many times what is there are scaled down to what a split can be drawn from, and no further."""
    roles, counts = case
    wanted = roles.model_copy(update={role: getattr(roles, role) * times for role in MINIMUM_PEOPLE})
    try:
        fitted = fit_roles(counts, wanted)
    except FaceVeilError:
        least = wanted.model_copy(update={r: min(getattr(wanted, r), n) for r, n in MINIMUM_PEOPLE.items()})
        with pytest.raises(FaceVeilError):
            split_people(counts, least, dataset_digest="d", seed=0)
        return
    split_people(counts, fitted, dataset_digest="d", seed=0)
    assert fitted == fit_roles(dict(reversed(list(enumerate(counts)))), wanted)
    for role, least in MINIMUM_PEOPLE.items():
        assert min(least, getattr(wanted, role)) <= getattr(fitted, role) <= getattr(wanted, role)
    assert fitted.photos == wanted.photos
    if times == 1:
        assert fitted == roles


def test_fitting_keeps_proportions() -> None:
    roles = Roles(pool=800, photos=4, verification=200, public=100, auxiliary=400, judges=200)
    counts = np.array([4] * 610 + [2] * 1070)  # as in LFW: 1,680 people, 610 of them with 4 photos
    fitted = fit_roles(counts, roles)
    assert [getattr(fitted, role) for role in ROLES] == [610, 152, 76, 305, 152]
    with pytest.raises(FaceVeilError, match=">= 4 photos: 16 needed, 15 there"):
        fit_roles(np.array([4] * 15 + [2] * 1000), roles)


def test_synthetic_people() -> None:
    roles = Roles(pool=90, photos=5, verification=30, public=25, auxiliary=60, judges=20, verification_photos=6)
    split = split_synthetic(roles, seed=0)
    for role in ROLES:
        first = FIRST_PERSON[role]
        assert people(split, role) == set(range(first, first + getattr(roles, role)))
        counts = Counter(getattr(split, role)[:, 0].tolist())
        assert set(counts.values()) == {6 if role == "verification" else 5}
    assert sorted(map(tuple, split.pool.tolist())) == [(p, i) for p in range(90) for i in range(5)]
    assert same(split, split_synthetic(roles, seed=0))


def test_a_synthetic_role_that_grows_moves_no_other() -> None:
    roles = Roles(pool=90, photos=5, verification=30, public=25, auxiliary=60, judges=20)
    before = split_synthetic(roles, seed=0)
    after = split_synthetic(roles.model_copy(update={"pool": 200, "verification": 300}), seed=0)
    assert all(np.array_equal(getattr(before, role), getattr(after, role)) for role in ("public", "auxiliary", "judges"))
    with pytest.raises(FaceVeilError, match="1300 pool people asked for; a synthetic track has room for 1250"):
        split_synthetic(roles.model_copy(update={"pool": 1300}), seed=0)
