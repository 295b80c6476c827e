"""Whom inversion is tried on."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.data.populations import HELD_OUT, SEEN, UNSEEN, open_populations
from benchmark.evaluation.inversion.subjects import asked_members, identity_subjects, template_subjects
from benchmark.interfaces import FaceVeilError


def test_templates_leak_from_members_and_from_held_out_people(flow):
    populations = flow.populations
    subjects = template_subjects(populations, 4, seed=0)
    person, member = subjects.targets.person, subjects.targets.member
    asked = {side: set(np.asarray(populations.queried.identity)[populations.side == side]) for side in (SEEN, HELD_OUT)}
    assert member.sum() == (~member).sum() == 4
    assert set(person[member]) <= asked[SEEN]
    assert set(person[~member]) <= asked[HELD_OUT]
    assert (np.asarray(subjects.sources.identity) == person).all()
    assert (np.asarray(subjects.gallery.identity) == subjects.targets.gallery).all()
    labelled = set(np.asarray(populations.queried.identity)[populations.labelled])
    assert not labelled & set(subjects.targets.gallery), "whose membership was told is not asked about"
    assert not set(subjects.sources.keys) & set(subjects.gallery.keys), "never compared with the leaked photo itself"


def test_a_member_s_template_is_of_a_photo_that_was_trained_on(flow):
    subjects = template_subjects(flow.populations, 100, seed=0)
    seen = set(flow.populations.seen.keys)
    keys = np.array(subjects.sources.keys)
    assert set(keys[subjects.targets.member]) <= seen
    assert not set(keys[~subjects.targets.member]) & seen
    assert not set(subjects.gallery.keys) & seen
    assert not set(asked_members(flow.populations).keys) & seen


def test_the_seed_draws_the_people(flow):
    drawn = [template_subjects(flow.populations, 3, seed=s).targets.person.tolist() for s in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1]
    assert len({tuple(d) for d in drawn[1:]}) > 1


def test_three_equal_groups_of_different_people(flow):
    subjects = identity_subjects(flow.populations, seed=0)
    group, photos = subjects.gallery.group, subjects.gallery.photos
    assert len(set(np.bincount(group))) == 1
    assert len(np.bincount(group)) == 3
    identity = np.asarray(subjects.photos.identity)
    assert len(np.unique(identity)) == len(group)
    assert all(len(set(identity[photos == p])) == 1 for p in range(len(group)))
    of_group = [set(identity[np.isin(photos, np.flatnonzero(group == g))]) for g in range(3)]
    queried, side = np.asarray(flow.populations.queried.identity), flow.populations.side
    assert of_group[0] <= set(queried[side == UNSEEN])
    assert of_group[1] <= set(queried[side == HELD_OUT])
    assert of_group[2] <= set(np.asarray(flow.populations.auxiliary.identity))


def test_one_photo_a_person_is_refused(flow, tmp_path):
    roles = flow.track.roles.model_copy(update={"photos": 2})
    populations = open_populations(flow.track.model_copy(update={"roles": roles}), cache=tmp_path)
    with pytest.raises(FaceVeilError, match="one photo a person"):
        template_subjects(populations, 2, seed=0)
