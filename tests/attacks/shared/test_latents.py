"""Latents: images from them, whatever the generator's size."""

from __future__ import annotations

import pytest
import torch

from attacks.shared.latents import PART, Descent, fitted


def test_another_size_is_resized_and_grey_becomes_colour():
    assert fitted(torch.rand(2, 3, 32, 32), 64).shape == (2, 3, 64, 64)
    small = fitted(torch.rand(2, 1, 64, 64), 16)
    assert small.shape == (2, 3, 16, 16)
    assert torch.equal(small[:, 0], small[:, 2])
    assert small.min() >= 0
    assert small.max() <= 1


def test_the_same_size_is_left_alone():
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(fitted(images, 16), images)


def test_descent_averages_its_last_iterates():
    """On |x| with a rate that never falls Adam swings around 0; the mean of the iterates lies nearer."""

    def loss(x, _rows):
        return x.abs().flatten(1).sum(1)

    start = torch.linspace(0.95, 1.05, 8)[:, None]
    last, _ = Descent(200, 0.3).run(start, loss)
    mean, trace = Descent(200, 0.3, average=100).run(start, loss)
    assert mean.abs().mean() < last.abs().mean()
    assert len(trace) == 200
    assert trace[0] == pytest.approx(1, abs=1e-6)


def test_descent_stays_within_its_clip():
    found, _ = Descent(50, 0.5, clip=lambda x: x.clamp(-1, 1)).run(torch.zeros(3, 2), lambda x, _: -x.sum(1))
    assert torch.equal(found, torch.ones(3, 2))


def test_descent_never_changes_its_start():
    start = torch.ones(2, 2)
    Descent(3, 0.1).run(start, lambda x, _: x.sum(1))
    assert torch.equal(start, torch.ones(2, 2))


def test_descent_in_parts_is_descent_at_once(monkeypatch):
    wanted = torch.randn(70, 3, generator=torch.Generator().manual_seed(0))
    sizes = []

    def loss(x, rows):
        sizes.append(len(x))
        return (x - wanted[rows]).square().sum(1)

    found, trace = Descent(30, 0.1).run(torch.zeros(70, 3), loss)
    assert set(sizes) == {PART, 70 - 2 * PART}, "in parts on a CPU"
    whole, at_once = Descent(30, 0.1).run(torch.zeros(70, 3), loss, coupled=True)
    assert sizes[-1] == 70
    assert torch.equal(found, whole)
    assert trace == pytest.approx(at_once)
