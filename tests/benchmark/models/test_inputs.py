from __future__ import annotations

import pytest
import torch

from benchmark.models.inputs import fit_size, to_input
from benchmark.protocol.track import InputSpec


def test_scale_of_the_published_normalisations():
    grey = torch.tensor([0, 100, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 4, 4)
    by_127 = to_input(grey, InputSpec(size=(4, 4)))[:, 0, 0, 0]
    by_128 = to_input(grey, InputSpec(size=(4, 4), std=(128 / 255,) * 3))[:, 0, 0, 0]
    assert torch.allclose(by_127, (torch.tensor([0.0, 100, 255]) - 127.5) / 127.5, atol=1e-6)
    assert torch.allclose(by_128, (torch.tensor([0.0, 100, 255]) - 127.5) / 128, atol=1e-6)


def test_centre_crop_takes_columns_8_to_103():
    columns = torch.arange(112).float().expand(1, 3, 112, 112)
    assert fit_size(columns, (112, 96))[0, 0, 0].tolist() == list(range(8, 104))
    assert fit_size(columns.mT, (96, 112))[0, 0, :, 0].tolist() == list(range(8, 104))


@pytest.mark.parametrize("size", [(48, 48), (112, 112), (64, 40)])
def test_other_sizes_are_resized(size):
    flat = torch.full((2, 3, 64, 64), 0.25)
    out = fit_size(flat, size)
    assert out.shape == (2, 3, *size)
    assert torch.allclose(out, torch.tensor(0.25))


def test_uint8_is_left_alone_and_equals_float():
    photos = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    copy = photos.clone()
    spec = InputSpec(size=(24, 24))
    assert torch.allclose(to_input(photos, spec), to_input(photos.float() / 255, spec), atol=1e-6)
    assert torch.equal(photos, copy)


def test_differentiable_for_float_images():
    images = torch.rand(1, 3, 20, 20, requires_grad=True)
    to_input(images, InputSpec(size=(10, 10))).sum().backward()
    assert (images.grad > 0).all()
