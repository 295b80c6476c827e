from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmark.data.preview import grid
from benchmark.data.procedural.faces import SyntheticFaces
from benchmark.interfaces import FaceVeilError

PAIRS = np.array([(5, 0), (2, 0), (5, 1), (2, 1), (5, 2), (9, 0)])


def test_one_row_for_each_person_in_order_of_appearance(tmp_path):
    photos = SyntheticFaces(PAIRS, 32, seed=1)
    out = tmp_path / "deep" / "faces.png"
    grid(photos, people=3, per_person=3, out=out, scale=2)
    picture = np.asarray(Image.open(out))
    assert picture.shape == (3 * 64, 3 * 64, 3)
    tiles = picture[::2, ::2].reshape(3, 32, 3, 32, 3).transpose(0, 2, 4, 1, 3)
    expected = photos.load(range(6)).numpy()
    for place, row in zip([(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (2, 0)], range(6), strict=True):
        np.testing.assert_array_equal(tiles[place], expected[row])
    assert not tiles[1, 2].any()
    assert [path.name for path in out.parent.iterdir()] == ["faces.png"]


def test_fewer_people_than_asked_for(tmp_path):
    grid(SyntheticFaces(PAIRS, 32, seed=1), people=50, per_person=1, out=tmp_path / "a.png", scale=1)
    assert Image.open(tmp_path / "a.png").size == (32, 3 * 32)


def test_refusals(tmp_path):
    with pytest.raises(FaceVeilError, match="1 or more"):
        grid(SyntheticFaces(PAIRS, 32, seed=1), 0, 1, tmp_path / "a.png")
    with pytest.raises(FaceVeilError, match="no photos"):
        grid(SyntheticFaces(np.zeros((0, 2), int), 32, seed=1), 1, 1, tmp_path / "a.png")
