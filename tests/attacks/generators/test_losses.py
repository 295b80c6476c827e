from __future__ import annotations

import math

import pytest
import torch

from attacks.generators.losses import discriminator_loss, generator_loss, path_penalty, r1_penalty
from attacks.generators.stylegan2 import Generator


def test_logistic_losses_by_hand():
    real, fake = torch.tensor([0.0, 2.0]), torch.tensor([-1.0])
    assert float(generator_loss(fake)) == pytest.approx(-math.log(1 / (1 + math.e)))
    expected = (math.log(2) + math.log(1 + math.exp(-2))) / 2 + math.log(1 + math.exp(-1))
    assert float(discriminator_loss(real, fake)) == pytest.approx(expected)


def test_r1_of_a_linear_discriminator_is_its_squared_norm():
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    weight = torch.randn(3, 4, 4, requires_grad=True)
    penalty = r1_penalty(images, (images * weight).sum((1, 2, 3)))
    assert penalty.item() == pytest.approx(weight.square().sum().item(), rel=1e-5)
    penalty.backward()
    torch.testing.assert_close(weight.grad, 2 * weight)


def test_path_length_of_equal_paths_is_not_penalised_and_its_mean_moves():
    torch.manual_seed(0)
    generator = Generator(8, z_dim=4, w_dim=4, mapping_layers=1, channel_base=64, channel_max=8)
    ws = generator.mapping(torch.randn(6, 4))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        penalty, mean = path_penalty(generator, ws, torch.zeros(()))
    assert float(penalty) > 0
    lengths = float(mean) / 0.01
    assert lengths > 0
    penalty.backward()  # needs second derivatives through every layer
    assert generator.synthesis.b4.conv1.weight.grad.abs().sum() > 0
    with torch.random.fork_rng():
        torch.manual_seed(1)
        nearer, _ = path_penalty(generator, generator.mapping(torch.randn(6, 4)), torch.tensor(lengths))
    assert float(nearer) < float(penalty)
