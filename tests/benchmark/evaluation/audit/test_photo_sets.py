import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from benchmark.evaluation.audit.photo_sets import open_photo_set
from benchmark.interfaces import FaceVeilError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), dtype=np.uint8)


class Pairs(Dataset):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        if i >= 5:
            raise IndexError
        return torch.from_numpy(PIXELS[i]).permute(2, 0, 1) / 255, i // 2


@pytest.mark.parametrize(
    "source",
    [
        PIXELS,
        torch.from_numpy(PIXELS),
        torch.from_numpy(PIXELS).permute(0, 3, 1, 2),
        PIXELS.astype(np.float32) / 255,
        list(PIXELS),
        [Image.fromarray(p) for p in PIXELS],
        Pairs(),
    ],
    ids=["array", "tensor", "channels first", "floats", "list", "images", "dataset"],
)
def test_every_kind_of_source_gives_the_same_pixels(source):
    photos = open_photo_set(source, "members")
    assert len(photos) == 5
    for i in range(5):
        np.testing.assert_array_equal(photos.read(i), PIXELS[i])
    assert len(set(photos.hashes)) == 5


def test_a_dataset_says_who_is_on_the_photos_and_an_array_does_not():
    assert open_photo_set(Pairs(), "members").people == ("0", "0", "1", "1", "2")
    assert open_photo_set(PIXELS, "members").people is None
    assert open_photo_set(PIXELS, "members", ["a", "b", "a", "b", "c"]).people == ("a", "b", "a", "b", "c")


def write(folder, names):
    for name, pixels in zip(names, PIXELS, strict=False):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def test_subfolders_are_people_and_a_flat_folder_names_none(tmp_path):
    write(tmp_path / "people", ["ann/1.png", "ann/2.png", "bob/1.png"])
    write(tmp_path / "flat", ["1.png", "2.png", "3.png"])
    people = open_photo_set(tmp_path / "people", "members")
    assert people.people == ("ann", "ann", "bob")
    assert people.keys == ("ann/1.png", "ann/2.png", "bob/1.png")
    flat = open_photo_set(str(tmp_path / "flat"), "members")
    assert (flat.people, flat.keys) == (None, ("1.png", "2.png", "3.png"))
    np.testing.assert_array_equal(flat.read(1), PIXELS[1])
    assert open_photo_set([tmp_path / "flat" / "2.png"], "members").hashes[0]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (PIXELS.astype(np.float32) / 127.5 - 1, "without normalisation"),
        (PIXELS.astype(np.float32), "floats in 0..1"),
        (PIXELS[:, :, :, 0], "shape"),
        (PIXELS[:0], "no photo"),
        (7, "must be a folder"),
        ("/nowhere/at/all", "no such file or folder"),
    ],
)
def test_what_is_no_set_of_photos_is_named(source, said):
    with pytest.raises(FaceVeilError, match=said):
        open_photo_set(source, "members")


def test_people_must_fit_the_photos():
    with pytest.raises(FaceVeilError, match="5 photos, but 2 people"):
        open_photo_set(PIXELS, "members", ["a", "b"])
