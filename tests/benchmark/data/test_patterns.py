from __future__ import annotations

import numpy as np
import torch

from benchmark.data.patterns import PatternPhotos


def test_blank_photos_have_one_colour_and_patterns_have_many():
    blank = PatternPhotos(np.arange(5), 32, 1, seed=0).load(np.arange(5))
    assert blank.shape == (5, 3, 32, 32)
    assert blank.dtype == torch.uint8
    assert blank.float().std((2, 3)).max() == 0
    assert len({tuple(photo[:, 0, 0].tolist()) for photo in blank}) == 5
    squares = PatternPhotos(np.arange(5), 32, 8, seed=0).load(np.arange(5))
    assert squares.float().std((2, 3)).min() > 20
    assert torch.equal(squares[:, :, ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3), squares)


def test_a_pattern_depends_on_its_number_and_the_seed_alone():
    photos = PatternPhotos(np.arange(10), 40, 8, seed=3)
    some = photos.take(np.array([7, 2]))
    assert torch.equal(some.load([0, 1]), photos.load([7, 2]))
    assert some.digest == PatternPhotos([7, 2], 40, 8, seed=3).digest != photos.digest
    assert some.keys == [photos.keys[7], photos.keys[2]]
    assert not torch.equal(PatternPhotos([7], 40, 8, seed=4).load([0]), some.load([0]))
    assert len(photos.take(np.arange(10) > 6)) == 3
    assert photos.load([]).shape == (0, 3, 40, 40)
