"""Shadow backbones: public people alone, the target's own game, trained once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_world import FLOW, UNDEFENDED

from benchmark.data.populations import HELD_OUT, SEEN, UNSEEN, open_populations
from benchmark.interfaces import BackboneSpec, DefenseSpec, FaceVeilError
from benchmark.protocol.track import ShadowBudget
from benchmark.training import shadows
from benchmark.training.shadows import ShadowPool, auxiliary_people, reference_pairs

TWO = FLOW.model_copy(update={"shadows": ShadowBudget(auxiliary=2)})


def people(pairs: np.ndarray) -> set[int]:
    return set(pairs[:, 0].tolist())


def with_auxiliary(count: int):
    return open_populations(FLOW.model_copy(update={"roles": FLOW.roles.model_copy(update={"auxiliary": count})}))


@pytest.mark.parametrize("world", ["flow", "tiny"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_shadow_plays_the_targets_game_with_public_people(world, number, request):
    populations = request.getfixturevalue(world).populations
    roles, split = populations.roles, populations.split
    drawn = auxiliary_people(populations, number)
    by_side = {side: drawn.pairs[drawn.side == side] for side in (SEEN, UNSEEN, HELD_OUT)}
    assert people(by_side[SEEN]) == people(by_side[UNSEEN])
    assert people(by_side[SEEN]).isdisjoint(people(by_side[HELD_OUT]))
    for side, photos in ((SEEN, roles.seen), (UNSEEN, roles.unseen), (HELD_OUT, roles.unseen)):
        _, counts = np.unique(by_side[side][:, 0], return_counts=True)
        assert (counts == photos).all(), side
        assert len(counts) > 0
    assert len(np.unique(drawn.pairs, axis=0)) == len(drawn.pairs), "no photo plays two parts"
    assert people(drawn.pairs) <= people(split.auxiliary)
    for others in (split.pool, split.verification, split.public, split.judges):
        assert people(drawn.pairs).isdisjoint(people(others))
    assert len(people(by_side[SEEN])) <= roles.members


def test_statistics_are_estimated_on_people_that_no_shadow_knows(flow):
    populations = flow.populations
    public = people(reference_pairs(populations))
    assert len(public) == 4  # a fifth of the 20 auxiliary people
    assert public < people(populations.split.auxiliary)
    for number in range(5):
        assert public.isdisjoint(people(auxiliary_people(populations, number).pairs))


def test_other_numbers_draw_other_halves_and_the_same_number_the_same(flow):
    first, again, other = (auxiliary_people(flow.populations, n) for n in (0, 0, 1))
    np.testing.assert_array_equal(first.pairs, again.pairs)
    np.testing.assert_array_equal(first.side, again.side)
    assert people(first.pairs[first.side == SEEN]) != people(other.pairs[other.side == SEEN])


def test_people_with_too_few_photos_are_left_out(flow):
    split = flow.populations.split
    person = int(auxiliary_people(flow.populations, 0).pairs[0, 0])
    rows = np.flatnonzero(split.auxiliary[:, 0] == person)
    fewer = replace(split, auxiliary=np.delete(split.auxiliary, rows[1:], axis=0))
    # fifteen others are still enough
    assert person not in people(auxiliary_people(replace(flow.populations, split=fewer), 0).pairs)


def test_too_few_public_people_are_said(flow):
    assert len(people(auxiliary_people(with_auxiliary(19), 0).pairs)) == 15
    with pytest.raises(
        FaceVeilError, match=r"'tiny-flow': 14 auxiliary people with 4 photos are too few .*15 or more.*knowledge=partial"
    ):
        auxiliary_people(with_auxiliary(18), 0)


# The pool


class Counter:
    def __init__(self) -> None:
        self.epochs = 0

    def __call__(self, _report) -> None:
        self.epochs += 1


@pytest.fixture
def count() -> Counter:
    return Counter()


def test_shadows_are_trained_on_their_seen_photos_and_then_read(flow, tmp_path, count, monkeypatch):
    trained = []

    def spy(populations, defense, photos, **kwargs):
        trained.append((kwargs["seed"], list(photos.keys)))
        return make(populations, defense, photos, **kwargs)

    make = shadows.make_submission
    monkeypatch.setattr(shadows, "make_submission", spy)
    pool = ShadowPool(replace(flow.populations, track=TWO), tmp_path)
    assert len(pool.recipes(UNDEFENDED, TWO.backbone)) == 2
    first = list(pool.auxiliary(UNDEFENDED, TWO.backbone, progress=count))
    assert count.epochs == 2 * TWO.training.epochs
    assert len({s.submission.submission_id for s in first} | {flow.submission.submission_id}) == 3
    assert len({seed for seed, _ in trained} | {0}) == 3, "no seed of an entry"
    for shadow, (_, keys) in zip(first, trained, strict=True):
        assert keys == [shadow.photos.keys[i] for i in np.flatnonzero(shadow.side == SEEN)]
        assert len(shadow.photos) == len(shadow.side)

    again = list(ShadowPool(replace(flow.populations, track=TWO), tmp_path).auxiliary(UNDEFENDED, TWO.backbone, progress=count))
    assert count.epochs == 2 * TWO.training.epochs
    assert len(trained) == 2
    assert [s.submission.submission_id for s in again] == [s.submission.submission_id for s in first]
    assert all((a.side == b.side).all() for a, b in zip(first, again, strict=True))


def test_shadows_are_trained_one_at_a_time(flow, tmp_path, count):
    pool = ShadowPool(replace(flow.populations, track=TWO), tmp_path)
    next(iter(pool.auxiliary(UNDEFENDED, TWO.backbone, progress=count)))
    assert count.epochs == TWO.training.epochs


def test_a_cards_complete_settings_name_the_same_shadow(flow, tmp_path, count):
    pool = ShadowPool(flow.populations, tmp_path)
    (short,) = pool.auxiliary(DefenseSpec(name="bn_perturbation"), FLOW.backbone, progress=count)
    before = count.epochs
    card = short.submission.card
    assert card.defenses[0].settings
    (complete,) = pool.auxiliary(card.defenses[0], card.backbone, progress=count)
    assert complete.submission.path == short.submission.path
    assert count.epochs == before


def test_post_hoc_shadows_reuse_the_undefended_training(flow, tmp_path, count):
    pool = ShadowPool(flow.populations, tmp_path)
    (plain,) = pool.auxiliary(UNDEFENDED, FLOW.backbone, progress=count)
    assert count.epochs == FLOW.training.epochs
    (noisy,) = pool.auxiliary(DefenseSpec(name="bn_perturbation"), FLOW.backbone, progress=count)
    assert count.epochs == FLOW.training.epochs
    assert noisy.submission.card.training["base_submission"] == plain.submission.submission_id
    assert noisy.submission.submission_id != plain.submission.submission_id


def test_another_backbone_has_its_own_shadow(flow, tmp_path, count):
    pool = ShadowPool(flow.populations, tmp_path)
    (plain,) = pool.auxiliary(UNDEFENDED, FLOW.backbone, progress=count)
    group = BackboneSpec(name=FLOW.backbone.name, kwargs={**FLOW.backbone.kwargs, "norm": "group"})
    (other,) = pool.auxiliary(UNDEFENDED, group, progress=count)
    assert count.epochs == 2 * FLOW.training.epochs
    assert (plain.submission.card.norm, other.submission.card.norm) == ("batch", "group")
    np.testing.assert_array_equal(plain.side, other.side)
    assert list(plain.photos.keys) == list(other.photos.keys), "the same people, whatever the backbone"


def test_the_undefended_shadow_starts_where_the_track_does(flow):
    """From scratch, or on a track that never does from the weights that it is given."""
    scratch = ShadowPool(flow.populations, flow.folder / "shadows").undefended(flow.submission)
    assert [(recipe.number, recipe.init) for recipe in scratch] == [(0, None)]
    tuned = flow.populations.track.model_copy(update={"needs_init": True})
    (recipe,) = ShadowPool(replace(flow.populations, track=tuned), flow.folder / "shadows").undefended(flow.submission)
    assert recipe.init is flow.submission
    assert recipe.backbone.name == flow.submission.card.backbone.name
