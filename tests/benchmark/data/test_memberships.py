"""Memberships: halves that are right, and that say nothing about one another."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.data.memberships import HELD_OUT, SEEN, SPARE, UNSEEN, draw
from benchmark.metrics.roc import auc

PEOPLE, PHOTOS = 40, 6
IDENTITY = np.repeat(np.arange(PEOPLE) * 3, PHOTOS)


@pytest.mark.parametrize("number", [0, 1, 17])
@pytest.mark.parametrize("photos", [4, 5])
def test_half_of_the_people_and_of_their_photos(number, photos):
    identity = np.repeat(np.arange(31), photos)
    drawn = draw(identity, 5, number)
    rows = {side: np.bincount(identity[drawn.side == side], minlength=31) for side in (SEEN, UNSEEN, HELD_OUT, SPARE)}
    members = rows[SEEN] > 0
    assert members.sum() == 15
    assert set(rows[SEEN][members]) == {photos // 2}
    assert set(rows[UNSEEN][members]) == {photos - photos // 2}
    assert set(rows[HELD_OUT][~members]) == {photos - photos // 2}, "as many photos a person as of a member"
    assert set(rows[SPARE][~members]) == {photos // 2}
    assert (drawn.person == members[identity]).all()
    assert (drawn.photo <= drawn.person).all()
    assert drawn.asked[drawn.person].all()


def test_a_number_is_a_pure_function_and_other_numbers_are_other_draws():
    first, again, other, seeded = draw(IDENTITY, 0, 3), draw(IDENTITY, 0, 3), draw(IDENTITY, 0, 4), draw(IDENTITY, 1, 3)
    assert (first.side == again.side).all()
    assert (first.person != other.person).any()
    assert (first.person != seeded.person).any()


def counted(shadows: list[np.ndarray]) -> np.ndarray:
    """What an attacker guesses who only counts: the share of shadows that hold a photo."""
    return np.mean(shadows, axis=0)


def balanced(seed: int, number: int) -> np.ndarray:
    """The trap: of every two numbers, one has the photos that the other has not."""
    photo = np.random.default_rng([seed, number // 2]).random(len(IDENTITY)) < 0.5
    return photo if number % 2 else ~photo


@pytest.mark.parametrize("what", ["person", "photo"])
def test_sides_of_the_shadows_say_nothing_about_the_target(what):
    """Every backbone of 100 populations of 8 is a target in its turn; a regression would find any linear trace."""
    scores, labels, features = [], [], []
    for seed in range(100):
        inside = [getattr(draw(IDENTITY, seed, number), what) for number in range(8)]
        for target in range(8):
            others = inside[:target] + inside[target + 1 :]
            scores.append(counted(others))
            labels.append(inside[target])
            features.append(np.stack(others, axis=1))
    score, label = np.concatenate(scores), np.concatenate(labels)
    error = 0.5 / np.sqrt(100 * PEOPLE)  # people are the independent units: a person's photos share a fate
    assert abs(auc(score, label) - 0.5) < 4 * error
    design = np.concatenate(features).astype(float)
    half = len(design) // 2
    weight, *_ = np.linalg.lstsq(np.c_[design[:half], np.ones(half)], label[:half], rcond=None)
    assert abs(auc(np.c_[design[half:], np.ones(half)] @ weight, label[half:]) - 0.5) < 4 * error * 2**0.5


def test_complements_would_be_found_by_counting():
    inside = [balanced(0, number) for number in range(8)]
    score = -counted(inside[1:])
    assert auc(score, inside[0]) > 0.6


def test_a_target_that_nobody_trained_is_as_unpredictable():
    """Labels drawn by the same rule under a number that no shadow has, as a null calibration draws them."""
    found = []
    for number in range(1000, 1200):
        shadows = [draw(IDENTITY, 0, n).photo for n in range(8)]
        found.append(auc(counted(shadows), draw(IDENTITY, 0, number).photo))
    assert abs(np.mean(found) - 0.5) < 4 * np.std(found) / np.sqrt(len(found))
