from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.evaluation.audit.canaries import KINDS, canary_path, draw_canaries, make_plan, read_canaries, write_canaries
from benchmark.interfaces import FaceVeilError

EVERY = [(unit, kind) for unit, kinds in KINDS.items() for kind in kinds]


@pytest.fixture
def draw(flow):
    def canaries(unit="photo", kind="", count=20, seed=0):
        return draw_canaries(flow.populations, make_plan(unit, kind, count, seed))

    return canaries


def people(rows):
    return set(rows[:, 0].tolist())


@pytest.mark.parametrize(("unit", "kind"), EVERY)
def test_canaries_are_the_same_every_time_and_other_ones_from_another_seed(draw, unit, kind):
    first, again, other = draw(unit, kind), draw(unit, kind), draw(unit, kind, seed=1)
    assert first.photos.digest == again.photos.digest
    assert (first.included == again.included).all()
    assert (first.included != other.included).any()
    if (unit, kind) != ("person", "natural"):  # who the extra people are needs no chance
        assert first.photos.digest != other.photos.digest
    assert first.note.model_dump() == {"unit": unit, "kind": kind, "count": 20}


@pytest.mark.parametrize(("unit", "kind"), EVERY)
def test_only_canaries_whose_coin_says_so_are_trained_on(draw, flow, unit, kind):
    canaries, seen = draw(unit, kind), flow.populations.seen
    photos = canaries.training_set(seen)
    inside = canaries.included[canaries.canary]
    assert len(photos) == len(seen) + inside.sum()
    assert torch.equal(photos.load(np.arange(len(seen))), seen.load(np.arange(len(seen))))
    assert torch.equal(photos.load(np.arange(len(seen), len(photos))), canaries.photos.load(np.flatnonzero(inside)))
    assert photos.identity[len(seen) :].tolist() == np.asarray(canaries.photos.identity)[inside].tolist()


def test_coins_are_fair(draw):
    share = draw(kind="blank", count=4000).included.mean()
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(4000)


@pytest.mark.parametrize("kind", ["mislabelled", "blank", "out_of_distribution"])
def test_photo_canaries_go_under_the_names_of_members(draw, flow, kind):
    canaries = draw(kind=kind)
    assert set(canaries.photos.identity.tolist()) <= set(flow.populations.seen.identity.tolist())
    assert canaries.canary.tolist() == list(range(20))


def test_mislabelled_photos_show_people_without_a_role(flow):
    asked = []
    source = flow.populations.source

    def watched(rows, role):
        asked.extend([rows] if role == "canaries" else [])
        return source(rows, role)

    for unit in ("photo", "person"):
        draw_canaries(replace(flow.populations, source=watched), make_plan(unit, "mislabelled", 6, 0))
    assert len(asked) == 2
    split = flow.populations.split
    with_roles = set().union(*(people(getattr(split, r)) for r in ("pool", "verification", "public", "auxiliary")))
    assert all(not people(rows) & with_roles for rows in asked)


def test_duplicates_repeat_photos_that_are_trained_on_anyway(draw, flow):
    canaries, seen = draw(kind="duplicated", count=10), flow.populations.seen
    assert len(set(canaries.copied.tolist())) == 10
    assert torch.equal(canaries.photos.load(np.arange(10)), seen.load(canaries.copied))
    assert canaries.photos.identity.tolist() == seen.identity[canaries.copied].tolist()
    with pytest.raises(FaceVeilError, match="of 24 photos that are trained on"):
        draw(kind="duplicated", count=25)


@pytest.mark.parametrize("kind", KINDS["person"])
def test_extra_people_have_names_and_as_many_photos_as_a_member(draw, flow, kind):
    canaries, roles = draw("person", kind, count=5), flow.track.roles
    assert np.bincount(canaries.canary).tolist() == [roles.seen] * 5
    names = canaries.photos.identity
    assert len(set(names.tolist())) == 5
    assert not set(names.tolist()) & people(flow.populations.split.pool)
    shown = [key.split("/")[1] for key in canaries.photos.keys]  # who is really on the photos
    per_name = [len({shown[i] for i in np.flatnonzero(names == name)}) for name in np.unique(names)]
    assert per_name == [1 if kind == "natural" else roles.seen] * 5


def test_a_data_set_lends_its_judges_until_there_are_no_more(flow):
    """On a data set nobody can be invented: 2 judges with 4 photos each."""
    track = flow.track.model_copy(update={"source": "folder"})
    populations = replace(flow.populations, track=track)
    judges = populations.split.judges
    photos = draw_canaries(populations, make_plan("photo", "mislabelled", 4, 0)).photos
    assert {key.split("/")[1] for key in photos.keys} == {f"p{person:06d}" for person in people(judges)}
    assert len(set(photos.keys)) == 4
    with pytest.raises(FaceVeilError, match="judges for 8"):
        draw_canaries(populations, make_plan("photo", "mislabelled", 9, 0))
    with pytest.raises(FaceVeilError, match="judges for 2"):
        draw_canaries(populations, make_plan("person", "", 3, 0))


def test_unknown_units_and_kinds_are_refused_with_the_choice():
    assert make_plan("photo", "", 1, 0).kind == "mislabelled"
    assert make_plan("person", "", 1, 0).kind == "natural"
    with pytest.raises(FaceVeilError, match="one of mislabelled, blank, out_of_distribution, duplicated"):
        make_plan("photo", "natural", 1, 0)
    with pytest.raises(FaceVeilError, match=r"unit.*'photo' or 'person'"):
        make_plan("crowd", "", 1, 0)
    with pytest.raises(FaceVeilError, match="count"):
        make_plan("photo", "", 0, 0)


def test_the_secret_is_kept_beside_the_submission(draw, flow, tmp_path):
    path = canary_path(tmp_path / "entry")
    assert path == tmp_path / "entry.canaries.json"
    canaries = draw()
    write_canaries(path, canaries, flow.submission, flow.populations)
    file = read_canaries(path)
    assert file.included == tuple(canaries.included.tolist())
    assert file.plan == canaries.plan
    assert file.submission_id == flow.submission.submission_id
    with pytest.raises(FaceVeilError, match="No such file"):
        read_canaries(tmp_path / "nowhere")
    path.write_text(json.dumps({"version": 1}))
    with pytest.raises(FaceVeilError, match="is not a canary file"):
        read_canaries(path)
