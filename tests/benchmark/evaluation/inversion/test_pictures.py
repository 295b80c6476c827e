"""Pictures of reconstructions: what they hold, and for whom they are never made."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.evaluation.inversion.pictures import HEADER, SCALE, check_may_show, write_gallery
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.tracks import TRACKS, get_track


def faces(value: int, count: int = 5) -> torch.Tensor:
    return torch.full((count, 3, 32, 32), value, dtype=torch.uint8)


def test_shows_the_three_side_by_side(tmp_path):
    out = tmp_path / "gallery.png"
    write_gallery(get_track("synthetic-64"), faces(10), faces(120), faces(230), out, blocks=1)
    whole = np.asarray(Image.open(out).convert("RGB"))
    pixels = whole[HEADER::SCALE, ::SCALE]
    row = pixels[16]
    assert row[16].tolist() == [10] * 3
    assert row[16 + 34].tolist() == [120] * 3
    assert row[16 + 68].tolist() == [230] * 3
    assert pixels.shape[0] == 5 * 34
    dark = (whole[:HEADER] < 200).any(axis=(0, 2))
    for start in (0, 34, 68):  # each column has its name above it, and no name reaches into the next column
        assert dark[SCALE * start : SCALE * (start + 32)].any()
        assert not dark[SCALE * (start + 32) : SCALE * (start + 34)].any()


@pytest.mark.parametrize("name", [t.name for t in TRACKS.values() if not t.shows_faces])
def test_real_people_are_never_shown(tmp_path, name):
    with pytest.raises(FaceVeilError, match="never shown"):
        write_gallery(get_track(name), faces(1), faces(1), faces(1), tmp_path / "no.png")
    assert not (tmp_path / "no.png").exists()


def test_tracks_of_real_people_exist_and_synthetic_ones_are_shown():
    shown = {t.source for t in TRACKS.values() if t.shows_faces}
    assert shown == {"synthetic"}
    assert any(t.source == "folder" for t in TRACKS.values())
    check_may_show(get_track("synthetic-quick"))


def test_unequal_sets_are_refused(tmp_path):
    with pytest.raises(FaceVeilError, match="three equal sets"):
        write_gallery(get_track("synthetic-64"), faces(1), faces(1, 4), faces(1), tmp_path / "x.png")
