"""Alignment puts landmarks where the template says, whatever the photo's pose."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmark.data.align import TEMPLATE, align, read_landmarks, similarity, warp
from benchmark.data.readers.folder import open_folder
from benchmark.interfaces import FaceVeilError


def moved(points: np.ndarray, angle: float = 0.4, scale: float = 1.7, shift: tuple[float, float] = (30.0, 12.0)) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ (scale * turn).T + np.array(shift)


def test_similarity_undoes_rotation_scale_and_shift():
    points = moved(TEMPLATE)
    matrix = similarity(points, TEMPLATE)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-9)


def test_similarity_never_mirrors():
    mirrored = TEMPLATE * np.array([-1.0, 1.0])
    matrix = similarity(mirrored, TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) > 0


def test_coinciding_landmarks_are_refused():
    with pytest.raises(FaceVeilError, match="coincide"):
        similarity(np.zeros((5, 2)), TEMPLATE)


def dots(points: np.ndarray, side: int) -> np.ndarray:
    """Soft white dots centred on pixel coordinates ``points``."""
    y, x = np.mgrid[:side, :side]
    image = np.zeros((side, side))
    for px, py in points:
        image += np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 3.0**2))
    return np.repeat((image.clip(0, 1) * 255).astype(np.uint8)[:, :, None], 3, axis=2)


def test_warped_dots_lie_on_the_template():
    points = moved(TEMPLATE)
    aligned = np.asarray(warp(dots(points, 260), points)).astype(float)[:, :, 0]
    y, x = np.mgrid[:112, :112]
    for px, py in TEMPLATE:
        near = aligned * ((x - px) ** 2 + (y - py) ** 2 < 36)
        centre = ((near * x).sum() / near.sum(), (near * y).sum() / near.sum())
        np.testing.assert_allclose(centre, (px, py), atol=0.15)


def write_set(folder, points):
    (folder / "photos" / "ann").mkdir(parents=True)
    for name in ("1", "2"):
        Image.fromarray(dots(points, 260) // (3 - int(name))).save(folder / "photos" / "ann" / f"{name}.png")
    row = ",".join(f"{v:.4f}" for v in points.ravel())
    (folder / "points.csv").write_text(f"path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\nann/1.png,{row}\n", encoding="utf-8")
    return open_folder(folder / "photos", aligned=False)


def test_align_writes_what_has_landmarks_and_names_the_rest(tmp_path):
    photos = write_set(tmp_path, moved(TEMPLATE))
    left_out = align(photos, read_landmarks(tmp_path / "points.csv"), tmp_path / "out")
    assert left_out == [("ann/2.png", "no landmarks")]
    assert open_folder(tmp_path / "out", 112).report.photos == 1


def test_align_goes_over_what_it_left_when_it_was_interrupted(tmp_path):
    photos = write_set(tmp_path, moved(TEMPLATE))
    points = {key: moved(TEMPLATE) for key in photos.keys}

    def interrupted(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align(photos, points, tmp_path / "out", interrupted)
    assert len(list((tmp_path / "out" / "ann").iterdir())) == 1
    assert align(photos, points, tmp_path / "out") == []
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["1.png", "2.png", "ann"]


def test_align_refuses_a_full_folder_and_landmarks_of_other_photos(tmp_path):
    photos = write_set(tmp_path, moved(TEMPLATE))
    with pytest.raises(FaceVeilError, match="not empty"):
        align(photos, read_landmarks(tmp_path / "points.csv"), tmp_path / "photos")
    with pytest.raises(FaceVeilError, match=r"ann/1\.png"):
        align(photos, {"bob/1.png": TEMPLATE}, tmp_path / "out")


@pytest.mark.parametrize(("text", "message"), [("path,x1\n", "lacks the columns"), (None, "line 2")])
def test_bad_landmark_files_are_named(tmp_path, text, message):
    header = "path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n"
    path = tmp_path / "points.csv"
    path.write_text(text or header + "ann/1.png,1,2,x,4,5,6,7,8,9,10\n", encoding="utf-8")
    with pytest.raises(FaceVeilError, match=message):
        read_landmarks(path)
