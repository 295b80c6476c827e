from __future__ import annotations

import numpy as np
import pytest
import torch
from photo_arrays import noise_photos

from benchmark.data.joined import JoinedPhotos
from benchmark.interfaces import FaceVeilError


@pytest.fixture
def parts():
    return noise_photos(people=3, each=2, seed=1), noise_photos(people=2, each=2, seed=2)


@pytest.fixture
def joined(parts):
    return JoinedPhotos(parts, np.array([0, 0, 1, 1, 2, 2, 0, 7, 7, 1]))


def test_photos_stand_one_set_after_the_other_under_their_new_names(parts, joined):
    assert len(joined) == 10
    assert joined.identity.tolist() == [0, 0, 1, 1, 2, 2, 0, 7, 7, 1]
    everything = torch.cat([part.images for part in parts])
    assert torch.equal(joined.load(np.arange(10)), everything)
    order = np.array([9, 0, 6, 3, 3, 8])
    assert torch.equal(joined.load(order), everything[order])
    assert len(set(joined.keys)) == 10


def test_parts_of_parts_keep_their_photos(parts, joined):
    everything = torch.cat([part.images for part in parts])
    some = joined.take(np.array([7, 2, 9, 1])).take(np.array([3, 0, 1]))
    assert some.identity.tolist() == [0, 7, 1]
    assert torch.equal(some.load([0, 1, 2]), everything[[1, 7, 2]])
    assert some.keys == [joined.keys[i] for i in (1, 7, 2)]
    mask = np.arange(10) % 2 == 1
    assert torch.equal(joined.take(mask).load(np.arange(5)), everything[mask])
    assert joined.load([]).shape[0] == len(joined.take([])) == 0


def test_the_digest_tells_names_and_choices_apart(parts, joined):
    renamed = JoinedPhotos(parts, np.array([0, 0, 1, 1, 2, 2, 0, 7, 7, 2]))
    digests = {joined.digest, renamed.digest, joined.take([0, 1]).digest, joined.take([1, 0]).digest}
    assert len(digests) == 4
    assert joined.take(np.arange(10)).digest == joined.digest


def test_names_for_another_number_of_photos_are_refused(parts):
    with pytest.raises(FaceVeilError, match="10 photos were joined, and people given for 9"):
        JoinedPhotos(parts, np.zeros(9))
