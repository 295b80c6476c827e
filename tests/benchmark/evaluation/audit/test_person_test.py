import numpy as np
import pytest
from strangers import Memoriser, Stranger, pictures

from benchmark.evaluation.audit.person_test import was_i_in_it
from benchmark.interfaces import FaceVeilError

PHOTOS, PERSON = pictures(40, 4, seed=4, likeness=0.6)


def ask(model, person=0, others=39, **settings):
    mine, rest = person == PERSON, (person != PERSON) & (others >= PERSON)
    return was_i_in_it(model, mine=PHOTOS[mine], others=PHOTOS[rest], people=PERSON[rest], **settings)


def test_a_person_whose_photos_are_remembered_is_found_with_its_error_rate():
    model = Memoriser(Stranger(), PHOTOS[PERSON == 0], PERSON[PERSON == 0], strength=3.0)
    found = ask(model)
    assert (found.outcome, found.others, found.photos) == ("found", 39, 4)
    assert found.fpr == 1 / 40
    assert "2.5%" in found.text


def test_people_who_were_not_trained_on_are_called_members_no_more_often_than_said():
    model = Stranger()
    outcomes = [ask(model, person, fpr=0.1).fpr <= 0.1 for person in range(40)]
    assert sum(outcomes) == 4  # by exchangeability: the four of forty who stand out most


def test_few_people_allow_no_statement():
    model = Memoriser(Stranger(), PHOTOS[PERSON == 0], PERSON[PERSON == 0], strength=3.0)
    refused = ask(model, others=18)
    assert refused.outcome == "refused"
    assert "At least 19 people" in refused.text
    assert ask(model, others=19).outcome == "found"
    assert ask(model, others=18, fpr=0.06).outcome == "found"


def test_photos_that_stand_out_without_the_model_prove_nothing():
    photos = PHOTOS.copy()
    rng = np.random.default_rng(0)
    alike = photos[PERSON == 0][:1] + rng.integers(0, 3, photos[PERSON == 0].shape, dtype=np.uint8)
    rest = PERSON != 0
    found = was_i_in_it(Stranger(), mine=alike, others=photos[rest], people=PERSON[rest])
    assert found.outcome == "confounded"
    assert found.controls["pixels alone"] <= 0.05
    compared = was_i_in_it(Stranger(), mine=alike, others=photos[rest], people=PERSON[rest], reference=Stranger(seed=8))
    assert "the reference model" in compared.controls
    assert compared.outcome != "confounded"


def test_as_many_photos_of_everybody_are_compared():
    few = (PERSON != 0) & (np.arange(len(PERSON)) % 4 < 3)
    found = was_i_in_it(Stranger(), mine=PHOTOS[PERSON == 0], others=PHOTOS[few], people=PERSON[few])
    assert found.photos == 3
    assert any("3 of your 4 photos" in note for note in found.notes)


def test_a_person_among_the_others_is_left_out():
    found = was_i_in_it(Stranger(), mine=PHOTOS[PERSON == 0], others=PHOTOS, people=PERSON)
    assert found.others == 39
    assert any("also among yours" in note for note in found.notes)


def test_what_cannot_be_asked_is_named():
    with pytest.raises(FaceVeilError, match="one folder for each person"):
        was_i_in_it(Stranger(), mine=PHOTOS[:4], others=PHOTOS[4:])
    with pytest.raises(FaceVeilError, match="two or more"):
        was_i_in_it(Stranger(), mine=PHOTOS[:1], others=PHOTOS[4:], people=PERSON[4:])
