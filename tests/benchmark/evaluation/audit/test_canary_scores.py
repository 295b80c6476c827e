from __future__ import annotations

import numpy as np
import pytest
import torch
from photo_arrays import ArrayPhotos, target_of
from torch import nn

from benchmark.evaluation.audit.canaries import Canaries, make_plan
from benchmark.evaluation.audit.canary_scores import SCALE, score_canaries
from benchmark.interfaces import NotApplicableError


class Colour(nn.Module):
    """The embedding of a photo is its mean colour around grey."""

    def forward(self, x):
        return x.mean((2, 3))


def photos_of(colours, identity):
    values = np.rint((np.array(colours, float).reshape(-1, 3) + 1) * 127.5)
    images = torch.from_numpy(values.astype(np.uint8))[:, :, None, None].expand(-1, 3, 8, 8).contiguous()
    return ArrayPhotos(images, np.array(identity, np.int64))


class Populations:
    """Three members, two photos each, one colour a person: red 10, green 20, blue 30."""

    seen = photos_of(np.repeat(np.eye(3), 2, 0), np.repeat([10, 20, 30], 2))


def scores(photos, canary=None, *, unit="photo", kind="", copied=None, populations=Populations):
    canary = np.arange(len(photos)) if canary is None else np.array(canary)
    count = int(canary.max()) + 1
    canaries = Canaries(make_plan(unit, kind, count, 0), photos, canary, np.ones(count, bool), copied)
    return score_canaries(target_of(Colour()), populations, canaries)  # type: ignore[arg-type]


def test_a_canary_near_its_name_scores_higher_than_one_far_from_it():
    near, far = scores(photos_of([[0, 1, 0], [1, 0, 0]], [20, 20]))
    # Classes are the unit vectors: cosines 1, 0, 0 and (own) 0, 1, 0.
    assert near == pytest.approx(-np.log(1 + 2 * np.exp(-SCALE)), abs=0.5)
    assert far == pytest.approx(-SCALE, abs=0.5)


def test_copies_are_compared_with_the_other_photos_of_the_person():
    populations = type("P", (), {"seen": photos_of([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]], [10, 10, 20, 20])})
    own, alone = scores(
        photos_of([[1, 0, 0], [0, 0, 1]], [10, 20]), kind="duplicated", copied=np.array([0, 2]), populations=populations
    )
    # The other photo of 10 is green, at a right angle as is the class of 20; that of 20 is the same blue.
    assert own == pytest.approx(-np.log(2), abs=0.1)
    assert alone == pytest.approx(0, abs=0.1)
    single = type("P", (), {"seen": photos_of([[1, 0, 0], [0, 1, 0]], [10, 20])})
    with pytest.raises(NotApplicableError, match="only photo"):
        scores(photos_of([[1, 0, 0]], [10]), kind="duplicated", copied=np.array([0]), populations=single)


def test_a_person_whose_photos_lie_together_scores_higher_than_one_whose_do_not():
    together = [[1, 1, 0], [1, 1, 0]]
    apart = [[1, 1, 0], [-1, -1, 0]]
    high, low = scores(photos_of([*together, *apart], [90, 90, 91, 91]), [0, 0, 1, 1], unit="person")
    assert high > -1
    assert low < -SCALE
    with pytest.raises(NotApplicableError, match="one photo"):
        scores(photos_of([[1, 1, 0]], [90]), [0], unit="person")


def test_scores_do_not_depend_on_how_coins_fell():
    photos = photos_of([[0, 1, 0], [1, 0, 0]], [20, 20])
    plan = make_plan("photo", "", 2, 0)
    both = [
        score_canaries(target_of(Colour()), Populations, Canaries(plan, photos, np.arange(2), np.array(coins)))  # type: ignore[arg-type]
        for coins in ([True, False], [False, True])
    ]
    assert (both[0] == both[1]).all()
