"""Photos through a track's camera."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_world import FLOW

from benchmark.data.camera import CameraPhotos, through
from benchmark.data.populations import open_populations
from benchmark.data.procedural.faces import SyntheticFaces
from benchmark.interfaces import FaceVeilError, UnknownPluginError
from benchmark.protocol.track import Camera, Roles
from benchmark.training.build import training_track

PAIRS = np.stack([np.repeat(np.arange(4), 2), np.tile(np.arange(2), 4)], axis=1)
CAMERA = Camera(pixels=20, quality=90)


def faces() -> SyntheticFaces:
    return SyntheticFaces(PAIRS, 64, 1)


def test_a_photo_is_averaged_scaled_back_and_compressed():
    photo = faces().load([0])[0].permute(1, 2, 0).numpy()
    seen = through(photo, Camera(pixels=16, quality=95)).astype(float)
    assert seen.shape == photo.shape
    areas = photo.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(seen.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3)) - areas).mean() < 3, "each pixel is the mean of its area"

    def detail(image):
        return np.abs(np.diff(image.astype(float), axis=1)).mean()

    assert detail(seen) < 0.6 * detail(photo), "what is finer than the sensor is gone"
    small = Image.fromarray(photo).resize((20, 20), Image.Resampling.BOX).resize((64, 64), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=90)
    assert (through(photo, CAMERA) == np.asarray(Image.open(file))).all()


def test_photos_keep_their_order_names_and_people():
    plain, seen = faces(), CameraPhotos(faces(), CAMERA)
    assert len(seen) == len(plain)
    assert list(seen.keys) == list(plain.keys)
    assert (seen.identity == plain.identity).all()
    loaded = seen.load([3, 0])
    assert loaded.shape == (2, 3, 64, 64)
    assert loaded.dtype == torch.uint8
    whole = plain.load([0])[0].permute(1, 2, 0).numpy()
    assert (loaded[1].permute(1, 2, 0).numpy() == through(whole, CAMERA)).all()
    assert torch.equal(seen.take([5, 3]).load([1]), loaded[:1])
    assert len(seen.load([])) == 0


def test_another_camera_makes_another_set():
    digests = {faces().digest} | {
        CameraPhotos(faces(), c).digest for c in (CAMERA, Camera(pixels=21), Camera(pixels=20, quality=80))
    }
    assert len(digests) == 4


@pytest.fixture
def folder(tmp_path):
    numbers = np.stack([np.repeat(np.arange(40), 4), np.tile(np.arange(4), 40)], axis=1)
    photos = SyntheticFaces(numbers, 32, 1)
    for (person, photo), image in zip(numbers.tolist(), photos.load(np.arange(len(photos))), strict=True):
        (tmp_path / f"p{person:02d}").mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"p{person:02d}" / f"{photo}.png")
    return tmp_path


def track(**changes):
    roles = Roles(pool=16, photos=4, verification=6, public=4, auxiliary=8, judges=4)
    fields = {"name": "folder", "source": "folder", "roles": roles, "camera": CAMERA, "public_domain": "clean"}
    return FLOW.model_copy(update=fields | changes)


def test_a_track_sees_everybody_but_public_people_through_its_camera(folder):
    seen, plain = open_populations(track(), folder), open_populations(track(camera=None), folder)
    wild = open_populations(track(public_domain="wild"), folder)
    assert seen.data_digest != plain.data_digest
    for role in ("members", "verification", "auxiliary", "judges"):
        assert isinstance(seen.role(role), CameraPhotos)
    assert not isinstance(seen.public, CameraPhotos)
    assert isinstance(wild.public, CameraPhotos)
    again = open_populations(track(), folder)
    assert again.split_digest == seen.split_digest
    assert torch.equal(again.seen.load([0, 1]), seen.seen.load([0, 1]))
    with pytest.raises(UnknownPluginError, match="clean"):
        open_populations(track(public_domain="clear"), folder)


def test_a_track_that_fine_tunes_says_so():
    with pytest.raises(FaceVeilError, match="pass --init PATH"):
        training_track(track(needs_init=True), None, None)
