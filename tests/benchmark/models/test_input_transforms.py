from __future__ import annotations

import pytest
import torch
from scipy.fft import dctn
from torch import nn

from benchmark.interfaces import BackboneSpec, FaceVeilError
from benchmark.models.backbones import create
from benchmark.models.input_transforms import SUBSETS, VISIBLE, NoisySpectrum, PartialSpectrum, Spectrum, _axis, keys, parse
from benchmark.runtime.seeding import seeded
from benchmark.submissions.expected_shapes import check_arguments, expected_shapes

KWARGS = {"width": 0.125, "embedding_size": 16, "input_size": [32, 32]}


def photos(count: int = 6, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_coefficients_are_those_of_scipy_on_enlarged_blocks():
    """Up to one factor a frequency: the deviation on natural images."""
    images = photos(2)
    ours = Spectrum()(images)
    luma = torch.einsum("c,bchw->bhw", torch.tensor([0.299, 0.587, 0.114]), images)
    large = nn.functional.interpolate(luma[:, None], scale_factor=8, mode="bilinear", align_corners=False)[:, 0]
    for i, j in ((0, 0), (3, 7), (15, 4)):
        block = dctn(large[:, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8].numpy(), axes=(1, 2), norm="ortho").reshape(2, 64)
        factor = ours[0, 0, :, i, j] / torch.from_numpy(block)[0]
        used = (ours[0, 0, :, i, j].abs() > 1e-3).nonzero()[:, 0]
        assert len(used) > 30
        again = factor[used] * torch.from_numpy(block)[1, used]
        torch.testing.assert_close(ours[1, 0, used, i, j], again, rtol=1e-3, atol=1e-3)


def test_frequencies_of_smooth_images_have_one_size():
    """An image of the assumed correlation has deviation 1 in every frequency that an enlarged image has."""
    place = torch.arange(24.0)
    factor = torch.linalg.cholesky(0.95 ** (place[:, None] - place).abs())
    images = factor @ torch.randn(400, 24, 24, generator=torch.Generator().manual_seed(1)) @ factor.T
    axis = _axis(24, images)
    deviation = torch.einsum("iuh,bhw,jvw->bijuv", axis, images, axis).flatten(0, 2).std(0)
    there = axis.abs().amax((0, 2)) > 0
    torch.testing.assert_close(deviation[there][:, there], torch.ones(int(there.sum()), int(there.sum())), atol=0.15, rtol=0)


def test_the_subsets_share_nothing_and_leave_out_what_the_eye_sees():
    subsets = PartialSpectrum().subsets
    assert subsets.shape == (SUBSETS, 9)
    assert sorted(subsets.flatten().tolist()) == sorted(set(range(64)) - set(VISIBLE))


def test_a_photo_shows_one_subset_in_evaluation_and_any_in_training():
    front, images = PartialSpectrum().eval(), photos()
    shown, spectrum = front(images), Spectrum()(images)
    for b, key in enumerate(keys(images)):
        expected = spectrum[b][:, front.subsets[key % SUBSETS]].flatten(0, 1)
        assert torch.equal(shown[b], expected)
    assert torch.equal(front(images.flip(0)).flip(0), shown), "whatever else is in the batch"
    assert len(set((keys(photos(60)) % SUBSETS).tolist())) == SUBSETS
    front.train()
    with seeded(0):
        assert len({float(front(images)[0].sum()) for _ in range(30)}) > 3


def test_noise_has_the_scale_of_the_budget_and_is_the_photo_s_own():
    front, images = NoisySpectrum(4.0).eval(), photos()
    front.width.fill_(2.0)
    clean = Spectrum()(images)[:, :, 1:].flatten(1, 2)
    noise = (front(images) - clean).detach()
    assert noise.abs().mean() == pytest.approx(2.0 / 4.0, rel=0.05)
    assert torch.equal(front(images), front(images)), "asking again averages nothing out"
    assert not torch.equal(noise[0], noise[1])
    with torch.no_grad():
        front.theta[0] = 3.0  # a larger budget here, smaller ones elsewhere
    budgets = (front.channels * 4.0 * front.theta.softmax(0)).detach()
    assert budgets.mean() == pytest.approx(4.0, rel=1e-4)
    assert budgets[0] > 10 * budgets[1]


def test_training_learns_budgets_and_the_range_of_channels():
    front = NoisySpectrum(4.0).train()
    front(photos()).square().mean().backward()
    assert front.theta.grad.abs().sum() > 0
    assert not torch.equal(front.width, torch.ones(front.channels))


@pytest.mark.parametrize("front", ["partial_spectrum", ["noisy_spectrum", 4.0]])
@pytest.mark.parametrize("name", ["iresnet_slim", "mobilefacenet"])
def test_a_card_can_name_it_and_a_service_builds_it_safely(front, name):
    kwargs = {"input_size": [32, 32], "width": 0.125, "front": front}
    spec = BackboneSpec(name=name, kwargs=kwargs)
    assert check_arguments(spec) == []
    shapes = expected_shapes(spec)
    with seeded(0):
        backbone = create(name, kwargs).eval()
    assert {k: tuple(v.shape) for k, v in backbone.state_dict().items()} == {k: shape for k, (shape, _) in shapes.items()}
    assert backbone(photos(2, 32)).shape[0] == 2
    grouped = create(name, {**kwargs, "norm": "group"})
    assert not any(isinstance(m, nn.BatchNorm2d) for m in grouped.modules())


@pytest.mark.parametrize(
    "front", ["blur", ["noisy_spectrum"], ["noisy_spectrum", True], ["partial_spectrum", 3], 7, ["noisy_spectrum", 1e9], []]
)
def test_anything_else_is_refused(front):
    with pytest.raises(FaceVeilError, match="front="):
        parse(front)


def test_a_network_that_starts_otherwise_is_refused():
    with pytest.raises(FaceVeilError, match="starts with a convolution"):
        create("mixer_s32_224", {"front": "partial_spectrum", "in_chans": 1})
