from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.models.frozen import FrozenPReLU, frozen


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Sequential(nn.Flatten(), nn.Linear(8 * 36, 6), nn.PReLU()))
    with torch.no_grad():
        net[1].weight.uniform_(-0.5, 1.5)
    return net


def test_frozen_layers_give_the_same_numbers_and_the_same_gradients():
    plain, made = network(), frozen(network())
    images = torch.randn(4, 3, 8, 8, requires_grad=True)
    torch.testing.assert_close(made(images), plain(images), rtol=0, atol=0)
    (ours,), (theirs,) = (torch.autograd.grad(net(images).square().sum(), [images]) for net in (made, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert [type(layer) for layer in made.modules()].count(FrozenPReLU) == 2
    assert not any(p.requires_grad for p in made.parameters())
    assert list(made.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_gradients_hold_in_every_rank_and_by_finite_differences(shape):
    layer = FrozenPReLU(3).double().requires_grad_(False)
    layer.weight.copy_(torch.tensor([-0.5, 0.25, 1.5]))
    torch.manual_seed(1)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(layer, (x,))


def test_slopes_that_are_not_frozen_get_their_gradients():
    layer = FrozenPReLU(3)
    layer(torch.randn(4, 3)).sum().backward()
    assert layer.weight.grad is not None


def test_weights_that_are_nothing_become_zero_and_others_stay():
    net = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1e-39, -1e-19, -1.5]]))
    assert frozen(net).weight.tolist() == [[0.0, pytest.approx(-1e-19), -1.5]]
