from __future__ import annotations

import pytest
import torch
from photo_arrays import target_of
from torch import nn

from attacks.inversion.deep_inversion import DeepInversion
from benchmark.interfaces import Access, Goal, NotApplicableError

GOAL = Goal.TRAINING_IDENTITIES


def mismatch(bench, images) -> float:
    """How far the batch's statistics are from those that the two BatchNorm layers stored, by a plain loop."""
    total, x = 0.0, images * 2 - 1
    with torch.no_grad():
        for layer in bench.target.backbone:
            if isinstance(layer, nn.BatchNorm2d):
                total += (x.mean((0, 2, 3)) - layer.running_mean).norm() + (x.var((0, 2, 3), False) - layer.running_var).norm()
            x = layer(x)
    return float(total)


@pytest.mark.parametrize("space", ["w", "pixels"])
def test_batch_statistics_approach_the_stored_ones(bench, space):
    first = bench.run(DeepInversion(space=space, steps=1), GOAL)
    last = bench.run(DeepInversion(space=space, steps=60), GOAL)
    assert mismatch(bench, last.images) < 0.7 * mismatch(bench, first.images)
    assert last.trace[-1] < last.trace[0]


def test_the_loss_is_the_weighted_mismatch(bench):
    """Without priors and with the first layer's weight at 1, the trace is the plain loop's sum."""
    settings = DeepInversion(space="pixels", steps=1, first=1, statistics=1, variation=0, l2=0)
    start = torch.sigmoid(torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(5)))
    assert bench.run(settings, GOAL).trace[0] * 6 == pytest.approx(mismatch(bench, start), rel=1e-4)


def test_total_variation_smooths(bench):
    def roughness(weight):
        images = bench.run(DeepInversion(space="pixels", steps=40, variation=weight), GOAL).images
        return (images[..., 1:] - images[..., :-1]).abs().mean().item()

    assert roughness(0.1) < 0.8 * roughness(0.0)


def test_pixels_need_no_generator(bench):
    assert bench.run(DeepInversion(space="pixels", steps=2), GOAL, generator=None).images.shape == (6, 3, 16, 16)


def test_a_backbone_without_batchnorm_has_no_statistics_to_match(bench):
    plain = target_of(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), Access.WEIGHTS, size=16)
    with pytest.raises(NotApplicableError, match="no BatchNorm"):
        bench.run(DeepInversion(steps=1), GOAL, target=plain)
