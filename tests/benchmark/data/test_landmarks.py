import importlib.util

import numpy as np
import pytest
from command_line import run
from PIL import Image

from benchmark.data.align import TEMPLATE
from benchmark.data.landmarks import Face, Mtcnn, chosen, find_landmarks
from benchmark.data.readers.open import open_faces
from benchmark.interfaces import FaceVeilError

HAS_MTCNN = importlib.util.find_spec("facenet_pytorch") is not None


def face(x, y, side):
    return Face(np.array([x, y, x + side, y + side], float), TEMPLATE * side / 112 + [x, y], 0.99)


@pytest.fixture
def photos(tmp_path):
    """Photos as red as they hold faces: 0, 1 or 2; the last one lies on its side and says so."""
    for name, red in (("ann/none.png", 0), ("ann/one.png", 1), ("bob/two.png", 2)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((60, 40, 3), (red, 9, 9), np.uint8)).save(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.full((40, 60, 3), (1, 9, 9), np.uint8)).save(tmp_path / "photos/bob/turned.png", exif=exif)
    return tmp_path / "photos"


class Counting:
    """Finds as many faces as the photo's red value says, and remembers the shapes it was shown."""

    def __init__(self):
        self.shapes = []

    def __call__(self, photo):
        self.shapes.append(photo.shape[:2])
        return [face(0, 0, 10), face(12, 22, 16)][: int(photo[0, 0, 0])]


def test_photos_without_a_face_or_with_several_are_listed(photos):
    found, left_out = find_landmarks(open_faces(photos, aligned=False), Counting())
    assert sorted(found) == ["ann/one.png", "bob/turned.png"]
    assert dict(left_out) == {
        "ann/none.png": "no face found",
        "bob/two.png": "2 faces found, so it is unclear whose photo it is",
    }


def test_photos_are_shown_upright(photos):
    detector = Counting()
    find_landmarks(open_faces(photos, aligned=False), detector)
    assert set(detector.shapes) == {(60, 40)}


def test_of_several_faces_the_largest_or_the_most_central_can_be_taken(photos):
    found, left_out = find_landmarks(open_faces(photos, aligned=False), Counting(), several="largest")
    assert "bob/two.png" in found
    assert len(left_out) == 1
    small_in_the_middle, large_at_the_edge = face(18, 28, 4), face(0, 0, 12)
    assert chosen([small_in_the_middle, large_at_the_edge], (60, 40), "largest") is large_at_the_edge
    assert chosen([large_at_the_edge, small_in_the_middle], (60, 40), "central") is small_in_the_middle


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "facenet_pytorch", None)
    with pytest.raises(FaceVeilError, match="pip install --no-deps facenet-pytorch"):
        Mtcnn()


@pytest.mark.realdata
@pytest.mark.skipif(not HAS_MTCNN, reason="facenet-pytorch is not installed")
def test_photos_turned_and_scaled_come_back_to_the_published_alignment(testdata, tmp_path):
    published = open_faces(testdata / "london_arcface112.tar")
    for i in range(4):
        frame = np.pad(published.image(i), ((60, 60), (60, 60), (0, 0)), mode="edge")
        turned = Image.fromarray(frame).resize((348, 348)).rotate(12 * (-1) ** i, resample=Image.Resampling.BICUBIC)
        path = tmp_path / "raw" / published.keys[i]
        path.parent.mkdir(parents=True, exist_ok=True)
        turned.save(path.with_suffix(".png"))
    (tmp_path / "raw" / "empty").mkdir()
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "raw" / "empty" / "wall.png")
    result = run("data", "align", tmp_path / "raw", "--out", tmp_path / "ours")
    assert "wrote 4 photos" in result.stdout
    assert "no face found" in result.stdout
    ours = open_faces(tmp_path / "ours", size=112)
    for i in range(4):
        inner = np.s_[20:92, 20:92]
        difference = np.abs(ours.image(i)[inner].astype(float) - published.image(i)[inner]).mean()
        assert difference < 16, ours.keys[i]  # a shift of four pixels makes 20 and more
