from __future__ import annotations

from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.data.splits import MINIMUM_PEOPLE, Split, fit_roles, split_people, split_synthetic
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import Roles

ROLES = [role.name for role in fields(Split)]
SETS = ["members_seen", "held_out", "verification", "auxiliary", "judges"]  # one array per set of people


def people(split: Split, role: str) -> set[int]:
    return set(getattr(split, role)[:, 0].tolist())


def same(one: Split, other: Split) -> bool:
    return all(np.array_equal(getattr(one, role), getattr(other, role)) for role in ROLES)


roles_strategy = st.builds(
    Roles,
    members=st.integers(1, 12),
    held_out=st.integers(1, 12),
    verification=st.integers(1, 8),
    auxiliary=st.integers(1, 12),
    judges=st.integers(1, 8),
    seen=st.integers(1, 4),
    unseen=st.integers(1, 3),
    verification_photos=st.integers(2, 5),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Roles, np.ndarray]:
    """Roles, and photo counts that suffice for them: sometimes just so, in any order, with people to spare."""
    roles = draw(roles_strategy)
    whole = roles.seen + roles.unseen
    full = roles.members + roles.held_out
    some = roles.verification + roles.auxiliary
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
    whole = roles.seen + roles.unseen
    sets = {role: people(split, role) for role in SETS}
    assert {role: len(found) for role, found in sets.items()} == {
        "members_seen": roles.members,
        "held_out": roles.held_out,
        "verification": roles.verification,
        "auxiliary": roles.auxiliary,
        "judges": roles.judges,
    }
    assert len(set().union(*sets.values())) == sum(map(len, sets.values())), "sets of people overlap"
    assert people(split, "members_unseen") == sets["members_seen"]
    for role in ROLES:
        rows = getattr(split, role)
        assert rows.dtype == np.int64
        assert rows.shape[1] == 2
        assert list(map(tuple, rows.tolist())) == sorted(set(map(tuple, rows.tolist())))
        assert (rows[:, 1] < counts[rows[:, 0]]).all()
        assert (rows[:, 1] >= 0).all()
    assert not set(map(tuple, split.members_seen.tolist())) & set(map(tuple, split.members_unseen.tolist()))
    per_person = {role: Counter(getattr(split, role)[:, 0].tolist()) for role in ROLES}
    assert set(per_person["members_seen"].values()) == {roles.seen}
    assert set(per_person["members_unseen"].values()) == {roles.unseen}
    assert set(per_person["held_out"].values()) == {roles.unseen}
    assert all(n == min(counts[p], roles.verification_photos) and n >= 2 for p, n in per_person["verification"].items())
    assert all(n == min(counts[p], whole) and n >= 2 for p, n in per_person["auxiliary"].items())
    assert all(n == counts[p] for p, n in per_person["judges"].items())
    assert all(counts[p] >= whole for p in sets["members_seen"] | sets["held_out"])
    spare = int((counts >= whole).sum()) - roles.members - roles.held_out
    assert sum(counts[p] >= whole for p in sets["auxiliary"]) == min(roles.auxiliary, spare)


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
    roles = Roles(members=20, held_out=20, verification=10, auxiliary=20, judges=5, seen=2, unseen=2)
    counts = np.full(100, 6)
    splits = [split_people(counts, roles, dataset_digest=d, seed=s) for d, s in (("a", 0), ("a", 1), ("b", 0))]
    assert len({split.digest for split in splits}) == 3
    assert len({frozenset(people(split, "members_seen")) for split in splits}) == 3


def test_members_and_held_out_have_the_same_distribution() -> None:
    """Who has many photos must tell nothing about membership, nor must a photo's place in its folder."""
    roles = Roles(members=30, held_out=30, verification=10, auxiliary=30, judges=10, seen=2, unseen=2)
    counts = np.random.default_rng(0).geometric(0.2, 400)
    totals = {"members_seen": [], "held_out": [], "auxiliary": []}
    places = {"members_seen": [], "members_unseen": [], "held_out": []}
    for seed in range(200):
        split = split_people(counts, roles, dataset_digest="d", seed=seed)
        for role, found in totals.items():
            found.extend(counts[sorted(people(split, role))])
        for role, found in places.items():
            rows = getattr(split, role)
            found.extend((rows[:, 1] + 0.5) / counts[rows[:, 0]])
    means = {role: np.mean(found) for role, found in totals.items()}
    error = np.std(totals["held_out"]) / np.sqrt(6000)
    assert abs(means["members_seen"] - means["held_out"]) < 4 * error * 2**0.5
    assert abs(means["auxiliary"] - means["held_out"]) < 4 * error * 2**0.5
    for found in places.values():
        assert abs(np.mean(found) - 0.5) < 4 * 0.3 / np.sqrt(len(found))


def test_too_few_people_are_explained() -> None:
    roles = Roles(members=300, held_out=300, verification=100, auxiliary=200, judges=50, seen=2, unseen=2)
    counts = np.array([4] * 500 + [2] * 200)
    with pytest.raises(FaceVeilError) as caught:
        split_people(counts, roles, dataset_digest="d", seed=0)
    text = str(caught.value)
    assert "members and held_out: people with >= 4 photos: 600 needed, 500 there" in text
    assert "these with verification and auxiliary: people with >= 2 photos: 900 needed, 700 there" in text
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
    assert (fitted.seen, fitted.unseen) == (wanted.seen, wanted.unseen)
    if times == 1:
        assert fitted == roles


def test_fitting_keeps_proportions() -> None:
    roles = Roles(members=400, held_out=400, verification=200, auxiliary=400, judges=200, seen=2, unseen=2)
    counts = np.array([4] * 610 + [2] * 1070)  # as in LFW: 1,680 people, 610 of them with 4 photos
    fitted = fit_roles(counts, roles)
    assert (fitted.members, fitted.held_out, fitted.verification, fitted.auxiliary, fitted.judges) == (305, 305, 152, 305, 152)
    with pytest.raises(FaceVeilError, match=">= 4 photos: 16 needed, 15 there"):
        fit_roles(np.array([4] * 15 + [2] * 1000), roles)


def test_synthetic_people() -> None:
    roles = Roles(members=50, held_out=40, verification=30, auxiliary=60, judges=20, seen=3, unseen=2, verification_photos=6)
    split = split_synthetic(roles, seed=0)
    sets = [people(split, role) for role in SETS]
    assert set().union(*sets) == set(range(200))
    assert [len(found) for found in sets] == [50, 40, 30, 60, 20]
    counts = {role: Counter(getattr(split, role)[:, 0].tolist()) for role in ROLES}
    assert {role: set(found.values()) for role, found in counts.items()} == {
        "members_seen": {3},
        "members_unseen": {2},
        "held_out": {2},
        "verification": {6},
        "auxiliary": {5},
        "judges": {5},
    }
    whole = np.concatenate([split.members_seen, split.members_unseen])
    assert sorted(map(tuple, whole.tolist())) == [(p, i) for p in range(50) for i in range(5)]
    for role in ("members_seen", "members_unseen", "held_out"):
        assert set(getattr(split, role)[:, 1].tolist()) == {0, 1, 2, 3, 4}, "photos are not drawn at random"
    assert same(split, split_synthetic(roles, seed=0))
    assert split.digest != split_synthetic(roles, seed=1).digest
