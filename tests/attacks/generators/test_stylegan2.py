"""The generator against a naive one written from the paper's formulas: one sample at a time, weights scaled."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from attacks.generators.stylegan2 import Generator
from benchmark.interfaces import FaceVeilError


def naive_filter(x, gain):
    """Each channel of (C, H, W), already padded, correlated with the 4 x 4 outer product of [1, 3, 3, 1]."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    out = torch.zeros(x.shape[0], x.shape[1] - 3, x.shape[2] - 3)
    for i in range(4):
        for j in range(4):
            out += gain * taps[i] * taps[j] * x[:, i : i + out.shape[1], j : j + out.shape[2]]
    return out


def insert_zeros(x):
    out = torch.zeros(x.shape[0], 2 * x.shape[1], 2 * x.shape[2])
    out[:, ::2, ::2] = x
    return out


def naive_affine(state, name, w):
    return state[f"{name}.weight"] / math.sqrt(len(w)) @ w + state[f"{name}.bias"]


def naive_layer(state, name, x, w, noise, up):
    """Modulate, demodulate, (upsample,) convolve, add noise and bias, activate; x (C, H, W)."""
    weight = state[f"{name}.weight"] * naive_affine(state, f"{name}.affine", w)[None, :, None, None]
    weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if up:  # a true convolution of the image with zeros between its pixels, then the low-pass filter
        x = F.conv2d(F.pad(insert_zeros(x), (2, 1, 2, 1))[None], weight.flip(2, 3))[0]
        x = naive_filter(F.pad(x, (1, 1, 1, 1)), gain=4)
    else:
        x = F.conv2d(x[None], weight, padding=1)[0]
    if noise is not None:
        x = x + state[f"{name}.noise_strength"] * noise
    x = x + state[f"{name}.bias"][:, None, None]
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def naive_synthesis(state, resolution, ws, noise=True):
    image = x = None
    place = 0
    for size in [2**p for p in range(2, int(math.log2(resolution)) + 1)]:
        block = f"synthesis.b{size}"
        layers = ["conv1"] if size == 4 else ["conv0", "conv1"]
        if size == 4:
            x = state[f"{block}.const"]
        for layer in layers:
            field = state[f"{block}.{layer}.noise_const"] if noise else None
            x = naive_layer(state, f"{block}.{layer}", x, ws[place], field, up=layer == "conv0")
            place += 1
        styles = naive_affine(state, f"{block}.torgb.affine", ws[place]) / math.sqrt(x.shape[0])
        rgb = torch.einsum("oi,ihw->ohw", state[f"{block}.torgb.weight"][:, :, 0, 0] * styles, x)
        rgb = rgb + state[f"{block}.torgb.bias"][:, None, None]
        image = rgb if image is None else naive_filter(F.pad(insert_zeros(image), (2, 1, 2, 1)), gain=4) + rgb
    return image


def naive_mapping(state, layers, z):
    x = z / (z.square().mean() + 1e-8).sqrt()
    for number in range(layers):
        weight, bias = state[f"mapping.fc{number}.weight"], state[f"mapping.fc{number}.bias"]
        x = 0.01 / math.sqrt(len(x)) * (weight @ x) + 0.01 * bias
        x = torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)
    return x


def random_generator(resolution, **settings):
    """A generator whose every tensor, biases and noise strengths included, matters to the image."""
    torch.manual_seed(3)
    generator = Generator(resolution, **settings)
    for name, parameter in generator.named_parameters():
        if "bias" in name or "noise_strength" in name:
            parameter.data.add_(torch.randn_like(parameter) * (10 if "mapping" in name else 0.3))
    generator.mapping.w_avg.copy_(torch.randn_like(generator.w_avg))
    return generator.eval()


@pytest.mark.parametrize(
    ("resolution", "settings"),
    [
        (8, {"z_dim": 6, "w_dim": 5, "mapping_layers": 2, "channel_base": 64, "channel_max": 16}),
        (64, {"z_dim": 12, "w_dim": 16, "mapping_layers": 8, "channel_base": 512, "channel_max": 24}),
        (256, {"z_dim": 8, "w_dim": 8, "mapping_layers": 3, "channel_base": 1024, "channel_max": 8}),
    ],
)
def test_equals_a_naive_generator(resolution, settings):
    generator = random_generator(resolution, **settings)
    state = generator.state_dict()
    z = torch.randn(2, settings["z_dim"])
    with torch.no_grad():
        ws = generator.mapping(z)
        images = generator.synthesis(ws, noise="const")
    for sample in range(2):
        w = naive_mapping(state, settings["mapping_layers"], z[sample])
        torch.testing.assert_close(ws[sample], w.expand(generator.num_ws, -1), atol=1e-4, rtol=1e-4)
        expected = naive_synthesis(state, resolution, ws[sample])
        assert expected.std() > 0.05
        torch.testing.assert_close(images[sample], expected, atol=1e-4, rtol=1e-4)


def test_every_layer_reads_its_own_latent():
    generator = random_generator(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=16)
    ws = torch.randn(2, generator.num_ws, 8)  # another latent for every layer
    images = generator.synthesis(ws, noise="none")
    for sample in range(2):
        torch.testing.assert_close(
            images[sample], naive_synthesis(generator.state_dict(), 16, ws[sample], noise=False), atol=1e-4, rtol=1e-4
        )
    gradient = torch.autograd.functional.jacobian(lambda w: generator.synthesis(w, "none").square().sum(), ws)
    assert (gradient.abs().sum((0, 2)) > 0).all()


def test_noise_is_fixed_fresh_or_absent():
    generator = random_generator(8, z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=8)
    ws = generator.mapping(torch.randn(2, 8))
    const = generator.synthesis(ws)
    torch.testing.assert_close(const, generator.synthesis(ws, "const"))
    torch.manual_seed(0)
    first, second = generator.synthesis(ws, "random"), generator.synthesis(ws, "random")
    assert (first - second).abs().max() > 1e-3
    assert (const - generator.synthesis(ws, "none")).abs().max() > 1e-3


def test_truncation_draws_towards_the_mean():
    generator = random_generator(8, z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=8)
    z = torch.randn(3, 8)
    whole, half = generator.mapping(z), generator.mapping(z, truncation=0.5)
    torch.testing.assert_close(half, (whole + generator.w_avg) / 2)
    torch.testing.assert_close(generator.mapping(z, truncation=0.0), generator.w_avg.expand_as(whole))


def test_a_clamp_bounds_what_every_layer_hands_on():
    settings = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 8}
    free, bound = random_generator(8, **settings), random_generator(8, **settings, clamp=0.5)
    z = torch.randn(4, 8)
    assert free(z).abs().max() > 1.5
    assert bound(z).abs().max() <= 0.5 + 0.5  # the first block's image, resampled, and the second's
    torch.testing.assert_close(random_generator(8, **settings, clamp=256.0)(z), free(z))


def test_images_are_in_the_unit_interval():
    generator = random_generator(8, z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=8)
    ws = generator.mapping(generator.latents(64, seed=0))
    images = generator.images(ws)
    assert images.shape == (64, 3, 8, 8)
    assert images.min() == 0
    assert images.max() == 1
    assert torch.equal(generator.latents(5, seed=1), generator.latents(5, seed=1))


@pytest.mark.parametrize("resolution", [0, 2, 48, 96, 2048])
def test_refuses_sizes_that_are_not_powers_of_two(resolution):
    with pytest.raises(FaceVeilError, match=str(resolution)):
        Generator(resolution)


def test_refuses_latents_and_noise_that_do_not_fit():
    generator = Generator(8, z_dim=8, w_dim=8, mapping_layers=1, channel_base=64, channel_max=8)
    with pytest.raises(FaceVeilError, match="4, w_dim"):
        generator.synthesis(torch.randn(1, 3, 8))
    with pytest.raises(FaceVeilError, match="gaussian"):
        generator.synthesis(torch.randn(1, 4, 8), noise="gaussian")
