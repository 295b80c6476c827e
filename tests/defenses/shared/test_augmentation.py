from __future__ import annotations

import numpy as np
import pytest
import torch

from defenses.shared.augmentation import ERASED_AREA, Views, draw_views

SIZE = (24, 16)
IMAGES = torch.arange(2 * 3 * 24 * 16, dtype=torch.float32).reshape(2, 3, *SIZE) + 1


def views(flip=(False, False), shift=((0, 0), (0, 0)), box=((0, 0, 0, 0), (0, 0, 0, 0))) -> Views:
    return Views(np.array(flip), np.array(shift), np.array(box))


def test_nothing_drawn_changes_nothing():
    assert torch.equal(views().apply(IMAGES), IMAGES)


def test_each_photo_has_its_own_flip():
    shown = views(flip=(True, False)).apply(IMAGES)
    assert torch.equal(shown[0], IMAGES[0].flip(-1))
    assert torch.equal(shown[1], IMAGES[1])


def test_a_shift_moves_the_photo_and_mirrors_its_border():
    shown = views(shift=((2, 0), (0, -3))).apply(IMAGES)
    assert torch.equal(shown[0, :, :-2], IMAGES[0, :, 2:])
    assert torch.equal(shown[0, :, -2:], IMAGES[0, :, [-2, -3]])
    assert torch.equal(shown[1, ..., 3:], IMAGES[1, ..., :-3])
    assert torch.equal(shown[1, ..., :3], IMAGES[1, ..., [3, 2, 1]])


def test_a_box_is_erased_and_the_rest_stays():
    shown = views(box=((2, 3, 10, 9), (0, 0, 0, 0))).apply(IMAGES)
    assert (shown[0, :, 2:10, 3:9] == 0).all()
    assert (shown[0] == 0).sum() == 3 * 8 * 6
    assert torch.equal(shown[1], IMAGES[1])


def test_what_is_drawn_keeps_its_bounds():
    drawn = draw_views(4000, SIZE, np.random.default_rng(0), flip=True, crop=0.25, erase=0.3)
    assert drawn.flip.mean() == pytest.approx(0.5, abs=0.04)
    assert drawn.shift[:, 0].min() == -6
    assert drawn.shift[:, 0].max() == 6
    assert np.abs(drawn.shift[:, 1]).max() == 4
    top, left, bottom, right = drawn.box.T
    area = (bottom - top) * (right - left) / (24 * 16)
    assert (area > 0).mean() == pytest.approx(0.3, abs=0.04)
    assert area.max() < ERASED_AREA[1] + 0.05
    assert min(top.min(), left.min()) >= 0
    assert bottom.max() <= 24
    assert right.max() <= 16


def test_switched_off_means_off_and_the_first_views_do_not_depend_on_how_many_follow():
    off = draw_views(50, SIZE, np.random.default_rng(0), flip=False, crop=0, erase=0)
    assert not off.flip.any()
    assert not off.shift.any()
    assert not off.box.any()
    few = draw_views(3, SIZE, np.random.default_rng(1), flip=True, crop=0.2, erase=0.5)
    many = draw_views(9, SIZE, np.random.default_rng(1), flip=True, crop=0.2, erase=0.5).take(slice(0, 3))
    assert len(few) == 3
    for name in ("flip", "shift", "box"):
        assert np.array_equal(getattr(few, name), getattr(many, name))
