from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from attacks.generators.discriminator import Conv, Discriminator, minibatch_deviation
from attacks.generators.resample import blur, downsample, filter_2d, upsample


def test_minibatch_deviation_is_taken_within_groups_of_four():
    x = torch.randn(8, 3, 2, 2)
    found = minibatch_deviation(x)
    assert found.shape == (8, 1, 2, 2)
    for first in range(2):  # samples first, first + 2, first + 4, first + 6 are one group
        deviation = (x[first::2].var(0, unbiased=False) + 1e-8).sqrt().mean()
        torch.testing.assert_close(found[first::2], deviation.expand(4, 1, 2, 2))
    assert minibatch_deviation(torch.ones(3, 2, 2, 2)).max() < 1e-3  # a batch that no group divides is one group


def test_resampling_keeps_a_constant_and_is_the_adjoint_pair():
    kernel = filter_2d()
    flat = torch.ones(1, 2, 8, 8)
    torch.testing.assert_close(upsample(flat, kernel)[..., 2:-2, 2:-2], torch.ones(1, 2, 12, 12))
    torch.testing.assert_close(downsample(flat, kernel)[..., 1:-1, 1:-1], torch.ones(1, 2, 2, 2))
    small, large = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 8, 8)
    torch.testing.assert_close((upsample(small, kernel) * large).sum(), 4 * (small * downsample(large, kernel)).sum())
    torch.testing.assert_close(downsample(large, kernel), blur(large, kernel, padding=1)[..., ::2, ::2])


@pytest.mark.parametrize("size", [1, 3])
def test_a_halving_convolution_filters_before_it_drops_pixels(size):
    torch.manual_seed(0)
    conv = Conv(2, 5, size, down=True)
    x = torch.randn(1, 2, 8, 8)
    filtered = F.conv2d(F.pad(x, (size // 2 + 1,) * 4)[0][:, None], filter_2d()[None, None])[:, 0]
    expected = F.conv2d(filtered[None], conv.weight / math.sqrt(2 * size * size), conv.bias)[..., ::2, ::2]
    expected = 0.5 * math.sqrt(2) * F.leaky_relu(expected, 0.2)
    torch.testing.assert_close(conv(x, filter_2d(), gain=0.5), expected, atol=1e-5, rtol=1e-5)


def test_one_logit_an_image_that_depends_on_every_pixel():
    torch.manual_seed(0)
    discriminator = Discriminator(16, channel_base=128, channel_max=16)
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    logits = discriminator(images)
    assert logits.shape == (4,)
    logits.sum().backward()
    assert (images.grad.abs().sum((0, 1)) > 0).all()
