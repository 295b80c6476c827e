from __future__ import annotations

import pytest
import torch

from benchmark.interfaces import FaceVeilError
from benchmark.signals.views import AUGMENT_AREA, VIEWS, apply_view, augment, crops, uniforms


def images(count: int = 6, size: int = 24, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    return pixels.float() / 255


def ramp(size: int = 32) -> torch.Tensor:
    """A photo whose red is the place in x and whose green is the place in y, so that a part says where it was cut."""
    place = (torch.arange(size) + 0.5) / size
    return torch.stack([place.expand(size, size), place[:, None].expand(size, size), torch.full((size, size), 0.5)])[None]


def test_a_random_view_follows_from_the_photo_and_its_number_alone():
    photos = images()
    whole = augment(photos, 3)
    torch.testing.assert_close(augment(photos[[4, 1]], 3), whole[[4, 1]])
    assert not torch.allclose(augment(photos, 4), whole)
    again = photos.clone()
    again[0, 0, 0, 0] = 1 - again[0, 0, 0, 0].round()
    changed = uniforms(again, 3, 8) != uniforms(photos, 3, 8)
    assert changed[0].all()
    assert not changed[1:].any()


def test_float_photos_have_the_views_of_their_eight_bits():
    photos = images()
    torch.testing.assert_close(uniforms(photos + 0.001, 1, 4), uniforms(photos, 1, 4))


def test_draws_are_uniform_and_independent_between_numbers():
    photos = images(count=2000, size=2)
    first, second = uniforms(photos, 0, 3), uniforms(photos, 1, 3)
    assert abs(float(first.mean()) - 0.5) < 0.02
    assert abs(float(first.var()) - 1 / 12) < 0.01
    table = torch.corrcoef(torch.cat([first, second], 1).T) - torch.eye(6)
    assert float(table.abs().max()) < 0.1


def test_random_views_keep_shape_and_range_and_show_most_of_the_photo():
    photos = ramp().expand(200, -1, -1, -1) + torch.linspace(0, 0.2, 200)[:, None, None, None]  # not the same pixels
    view = augment(photos.clamp(0, 1), 0)
    assert view.shape == photos.shape
    assert float(view.min()) >= 0
    assert float(view.max()) <= 1
    parts = crops(images(count=50), 4, AUGMENT_AREA, (24, 24))
    assert parts.shape == (50, 4, 3, 24, 24)


def test_parts_are_cut_where_they_say():
    count, size = 64, 8
    parts = crops(ramp(), count, (0.08, 0.2), (size, size))[0]
    u = uniforms(ramp(), 1 << 32, 4 * count).view(count, 4)
    side = (0.08 + 0.12 * u[:, 0]).sqrt()
    extent = parts[:, 0].amax((1, 2)) - parts[:, 0].amin((1, 2))
    torch.testing.assert_close(extent, side * (size - 1) / size, atol=0.02, rtol=0)
    for axis, channel in ((1, 0), (2, 1)):
        middle = 0.5 + (2 * u[:, axis] - 1) * (1 - side) / 2
        torch.testing.assert_close(parts[:, channel].mean((1, 2)), middle, atol=0.02, rtol=0)
    mirrored = parts[:, 0, 0, 0] > parts[:, 0, 0, -1]
    assert (mirrored == (u[:, 3] < 0.5)).all()


@pytest.mark.parametrize("name", [*VIEWS, "augment-0", "augment-7"])
def test_views_carry_the_gradient(name):
    photos = (0.3 + 0.4 * images(count=2)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(apply_view(name, photos).sum(), photos)
    assert torch.isfinite(gradient).all()
    assert float(gradient.abs().sum()) > 0


@pytest.mark.parametrize("name", ["Flip", "augment", "augment-", "augment--1", "augment-1x"])
def test_an_unknown_view_is_refused_by_name(name):
    with pytest.raises(FaceVeilError, match=r"unknown view .*augment-N"):
        apply_view(name, images())
