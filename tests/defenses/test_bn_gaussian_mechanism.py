from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from dp_accounting.pld import privacy_loss_distribution as pld
from pydantic import ValidationError
from scipy.stats import norm

from benchmark.interfaces import DefenseSpec, FaceVeilError
from benchmark.models.bn_statistics import reestimate, with_statistics
from benchmark.protocol.registry import build_attack
from defenses.bn_gaussian_mechanism import BNGaussianMechanism, _location_and_scale, photo_moments


def analytic_delta(epsilon: float, sigma: float) -> float:
    """The exact delta of a Gaussian mechanism of sensitivity 1 (Balle and Wang 2018, theorem 8)."""
    return float(norm.cdf(0.5 / sigma - epsilon * sigma) - math.exp(epsilon) * norm.cdf(-0.5 / sigma - epsilon * sigma))


def statistics(backbone) -> torch.Tensor:
    return torch.cat([torch.cat([m.running_mean, m.running_var]) for m in with_statistics(backbone).values()])


def public_spread(trained, given) -> torch.Tensor:
    """The units in which vectors are clipped: deviations over public faces."""
    public = reestimate(copy.deepcopy(trained), given.public, given.input, given.device)
    return _location_and_scale(photo_moments(public, given.public, given))[1]


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 8.0])
def test_the_claim_is_what_independent_accountants_say(epsilon):
    noise, bound = BNGaussianMechanism(epsilon=epsilon, delta=1e-5).mechanism(1000)
    assert bound.epsilon <= epsilon * 1.01
    assert analytic_delta(bound.epsilon, noise) <= 1e-5, "the claim must hold"
    exact = pld.from_gaussian_mechanism(noise, value_discretization_interval=1e-4).get_epsilon_for_delta(1e-5)
    assert bound.epsilon == pytest.approx(exact, rel=0.02, abs=0.02)


def test_the_noise_in_the_statistics_has_the_promised_scale(trained, context):
    settings = {"clip": 5.0, "delta": 1e-5}
    silent = BNGaussianMechanism(epsilon=900, **settings)
    noisy = BNGaussianMechanism(epsilon=1.0, **settings)
    exact = statistics(silent.release(copy.deepcopy(trained), context()))
    draws = torch.stack([statistics(noisy.release(copy.deepcopy(trained), context(seed))) - exact for seed in range(40)])
    multiplier, _ = noisy.mechanism(30)
    mean = with_statistics(trained)["bn1"]

    given = context()
    spread = public_spread(trained, given)
    channels = len(mean.running_mean)
    wanted = multiplier * 5.0 * len(spread) ** 0.5 * spread[:channels] / len(given.photos)
    found = draws[:, :channels].std(0)
    assert float((found / wanted).mean()) == pytest.approx(1, abs=0.15)


def test_without_noise_and_clipping_the_statistics_are_those_of_the_members(trained, context, photos):
    given = context()
    released = BNGaussianMechanism(epsilon=1000, delta=0.5, clip=1000).release(copy.deepcopy(trained), given)
    first = trained.conv1(photos.load(range(len(photos))).float() / 127.5 - 1)
    scale = first.std((0, 2, 3))
    noise = given.provenance["bn_gaussian_mechanism"]["noise_multiplier"]
    assert given.provenance["bn_gaussian_mechanism"]["photos_clipped"] == 0
    assert noise < 0.1
    sharp = BNGaussianMechanism(epsilon=1000, delta=0.5, clip=5).release(copy.deepcopy(trained), context())
    assert ((sharp.bn1.running_mean - first.mean((0, 2, 3))) / scale).abs().max() < 0.3
    assert released.bn1.running_mean.shape == scale.shape


def test_one_photo_moves_the_sum_by_no_more_than_the_clip(trained, context, photos):
    """Neighbours: the same photos without the last one, replaced by a wild one; noise of one seed cancels."""
    defense = BNGaussianMechanism(epsilon=5.0, delta=1e-5, clip=0.5)
    wild = photos.take(np.arange(len(photos)))
    wild.pixels = wild.pixels.clone()
    wild.pixels[-1] = torch.randint(0, 2, wild.pixels[-1].shape, generator=torch.Generator().manual_seed(0)) * 255
    calm, moved = (defense.release(copy.deepcopy(trained), context(photos=given)) for given in (photos, wild))

    given = context()
    spread = public_spread(trained, given)
    start, difference = 0, []
    for name, layer in with_statistics(calm).items():
        channels = len(layer.running_mean)
        change = moved.get_submodule(name).running_mean.double() - layer.running_mean.double()
        difference.append(change / spread[start : start + channels])
        start += 2 * channels
    bound = 2 * 0.5 * len(spread) ** 0.5 / len(photos)  # one vector goes, another comes
    length = float(torch.cat(difference).norm())
    assert 0 < length <= bound * 1.001


def test_the_card_prints_the_epsilon_of_the_statistics_never_of_the_model(flow):
    submission = flow.train(DefenseSpec(name="bn_gaussian_mechanism", settings={"epsilon": 2.0}), name="gaussian")
    claim = submission.card.claim
    assert (claim.covers, claim.unit) == ("bn_statistics", "photo")
    assert claim.epsilon <= 2.02
    assert "nothing is promised" in submission.card.training["bn_gaussian_mechanism"]["guarantee"]
    changed = {n.rpartition(".")[2] for n, w in submission.weights.items() if not torch.equal(w, flow.submission.weights[n])}
    assert changed == {"running_mean", "running_var"}


@pytest.mark.parametrize("settings", [{"epsilon": 0}, {"epsilon": -1}, {"clip": 0}, {"delta": 1.0}, {"delta": 0}])
def test_strengths_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        BNGaussianMechanism(**settings)


def test_an_impossible_epsilon_is_refused_before_anything_runs(track):
    with pytest.raises(FaceVeilError, match="epsilon"):
        BNGaussianMechanism(epsilon=1e5).check(track.backbone, 100)


def test_the_attacks_estimate_the_statistics_again():
    attacks = [build_attack(spec) for spec in BNGaussianMechanism().adaptive_attacks()]
    assert {a.statistics for a in attacks} == {"auxiliary", "partial", "repaired"}
