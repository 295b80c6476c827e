import numpy as np
import pytest
from strangers import pictures

from benchmark.data.populations import HELD_OUT, SEEN, UNSEEN
from benchmark.evaluation.audit.photo_sets import open_photo_set
from benchmark.evaluation.audit.question import pose
from benchmark.interfaces import Contrast, FaceVeilError

PHOTOS, PERSON = pictures(40, 4)
SEEN_ROWS = (PERSON < 20) & (np.arange(len(PERSON)) % 4 < 2)


def question(seen=SEEN_ROWS, people=True, known=0.5):
    sets = [
        open_photo_set(PHOTOS[rows], what, PERSON[rows] if people else None)
        for rows, what in ((seen, "members"), (~seen, "nonmembers"))
    ]
    return pose(*sets, known=known, seed=0)


def test_people_in_both_sets_make_the_contrast_within_people():
    posed = question()
    counts = [(posed.side == side).sum() for side in (SEEN, UNSEEN, HELD_OUT)]
    assert counts == [40, 40, 80]
    assert not any(posed.contrasts.values())


def test_the_attacker_knows_half_of_each_kind_of_people_and_whole_people():
    posed = question()
    for side in (SEEN, HELD_OUT):
        people = np.unique(posed.identity[posed.side == side])
        known = np.unique(posed.identity[(posed.side == side) & posed.labelled])
        assert len(known) == len(people) / 2
    for person in np.unique(posed.identity):
        assert len(set(posed.labelled[posed.identity == person])) == 1


def test_without_people_only_one_contrast_can_be_asked():
    posed = question(people=False)
    assert not posed.has_people
    assert posed.contrasts[Contrast.PAPER] == ""
    assert "say who is on the photos" in posed.contrasts[Contrast.SAMPLE]


def test_repeated_photos_are_left_out_and_said_so():
    members = open_photo_set(np.concatenate([PHOTOS[:40], PHOTOS[:1]]), "members")
    posed = pose(members, open_photo_set(PHOTOS[39:100], "nonmembers"), known=0.5, seed=0)
    assert len(posed.photos) == 39 + 60
    assert "1 photos are in both sets" in posed.notes[0]
    assert "1 repeated" in posed.notes[1]


def test_photos_of_different_sizes_are_resized():
    small, _ = pictures(20, 2, seed=3, side=16)
    posed = pose(open_photo_set(PHOTOS[:40], "members"), open_photo_set(small, "nonmembers"), known=0.5, seed=0)
    assert tuple(posed.photos.load([0, 70]).shape) == (2, 3, 112, 112)
    assert any("different sizes" in note for note in posed.notes)


def test_too_few_photos_are_refused_with_their_number():
    with pytest.raises(FaceVeilError, match="3 photos trained on and 4 others are too few"):
        pose(open_photo_set(PHOTOS[:3], "members"), open_photo_set(PHOTOS[10:14], "nonmembers"), known=0.5, seed=0)
