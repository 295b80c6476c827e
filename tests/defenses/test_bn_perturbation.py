from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from benchmark.interfaces import AttackSpec, DefenseSpec, FaceVeilError, ReleaseContext
from benchmark.models.backbones import create
from benchmark.protocol.registry import build_attack
from benchmark.protocol.track import InputSpec
from benchmark.runtime.secret import noise_seed, secret_path
from benchmark.runtime.seeding import seeded, weights_digest
from defenses.bn_perturbation import BNPerturbation

BN = nn.modules.batchnorm._BatchNorm


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A backbone whose statistics look like those of a training: means of either sign, deviations from 0.03 to 30."""
    with seeded(0):
        backbone = create("mobilefacenet", {"width": 0.5, "input_size": [32, 32]}).eval()
        for layer in backbone.modules():
            if isinstance(layer, BN):
                layer.running_var.copy_(10 ** torch.empty_like(layer.running_var).uniform_(-3, 3))
                layer.running_mean.copy_(layer.running_var.sqrt() * torch.randn_like(layer.running_mean))
    return backbone


def context(seed: int = 0) -> ReleaseContext:
    return ReleaseContext(None, None, InputSpec(size=(32, 32)), seed, torch.device("cpu"))


def released(backbone: nn.Module, rho: float, seed: int = 0) -> nn.Module:
    return BNPerturbation(rho=rho).release(copy.deepcopy(backbone), context(seed))


def statistics(backbone: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Running means and variances of all layers, one after the other."""
    layers = [m for m in backbone.modules() if isinstance(m, BN)]
    return torch.cat([m.running_mean for m in layers]), torch.cat([m.running_var for m in layers])


@pytest.mark.parametrize("rho", [0.01, 0.1, 1.0])
def test_the_noise_has_the_promised_scale_in_deviations_of_the_channel(trained, rho):
    mean, var = statistics(trained)
    noisy_mean, noisy_var = statistics(released(trained, rho))
    shifts = (noisy_mean - mean) / var.sqrt() / rho
    scales = (noisy_var / var).log() / rho
    count = len(shifts)
    assert count > 2000
    for noise in (shifts, scales):
        assert abs(noise.mean()) < 4 / count**0.5
        assert noise.std() == pytest.approx(1, abs=4 / (2 * count) ** 0.5)
        assert (noise.abs() < 1).float().mean() == pytest.approx(0.683, abs=0.05)
    assert abs(torch.corrcoef(torch.stack([shifts, scales]))[0, 1]) < 4 / count**0.5
    assert (noisy_var > 0).all()


def test_everything_but_the_statistics_stays_to_the_last_bit(trained):
    before, after = trained.state_dict(), released(trained, 0.5).state_dict()
    for name, tensor in before.items():
        changed = name.endswith(("running_mean", "running_var"))
        assert torch.equal(after[name], tensor) != changed, name


def test_every_layer_gets_noise_of_its_own(trained):
    mean, var = statistics(trained)
    noise = (statistics(released(trained, 0.5))[0] - mean) / var.sqrt()
    assert len(noise.unique()) > 0.99 * len(noise)


def test_the_attack_reads_the_noise_and_the_embeddings_change(trained):
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert not torch.allclose(released(trained, 0.5)(images), trained(images), rtol=0.01)


def test_without_strength_nothing_changes(trained):
    assert weights_digest(released(trained, 0.0)) == weights_digest(trained)


def test_the_seed_decides_the_noise(trained):
    assert weights_digest(released(trained, 0.1, seed=3)) == weights_digest(released(trained, 0.1, seed=3))
    assert weights_digest(released(trained, 0.1, seed=3)) != weights_digest(released(trained, 0.1, seed=4))


def test_noise_of_one_seed_grows_in_proportion_to_rho(trained):
    mean, var = statistics(trained)
    weak, strong = (statistics(released(trained, rho, seed=3))[0] - mean for rho in (0.1, 0.2))
    torch.testing.assert_close(strong / var.sqrt(), 2 * weak / var.sqrt(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_a_backbone_without_statistics_is_refused(norm):
    backbone = create("mobilefacenet", {"width": 0.125, "input_size": [32, 32], "norm": norm})
    with pytest.raises(FaceVeilError, match="no BatchNorm statistics"):
        BNPerturbation().release(backbone, context())


@pytest.mark.parametrize("rho", [-0.1, 10.5, float("nan"), float("inf"), "much"])
def test_strengths_out_of_range_are_refused(rho):
    with pytest.raises(ValidationError, match="rho"):
        BNPerturbation(rho=rho)


def test_settings_round_trip_and_attacks_exist():
    defense = BNPerturbation(rho=0.3)
    assert BNPerturbation(**defense.settings()) == defense
    attacks = [build_attack(spec) for spec in defense.adaptive_attacks()]
    assert {a.statistic for a in attacks if a.name == "bn_distance"} == {"mean", "mean_var"}
    assert {a.name for a in attacks} == {"bn_distance", "regrown_head", "pair_stack"}
    assert {a.statistics for a in attacks} == {"auxiliary", "repaired"}  # none believes the perturbed statistics


def test_who_puts_public_statistics_back_sees_nothing_of_the_noise(flow):
    """Distances on the repaired backbone are those of the undefended one, repaired alike, at any strength."""
    spec = AttackSpec(name="bn_distance", settings={"statistics": "repaired"})
    (request,) = build_attack(spec).requests()
    perturbed = flow.train(DefenseSpec(name="bn_perturbation", settings={"rho": 5.0}), name="strongly-perturbed")
    mine, plain = (flow.evidence([spec], submission).signals[request] for submission in (perturbed, flow.submission))
    np.testing.assert_allclose(mine, plain, rtol=1e-5)
    stored = AttackSpec(name="bn_distance")
    (request,) = build_attack(stored).requests()
    mine, plain = (flow.evidence([stored], submission).signals[request] for submission in (perturbed, flow.submission))
    assert not np.allclose(mine, plain, rtol=0.5)


def subtracted(noisy: nn.Module, rho: float, seed: int) -> torch.Tensor:
    """The means as an attacker finds them who draws the noise again from a seed."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for layer in (m for m in noisy.modules() if isinstance(m, BN)):
        means = torch.randn(layer.running_mean.shape, generator=generator)
        variance = layer.running_var / torch.exp(rho * torch.randn(layer.running_var.shape, generator=generator))
        found.append(layer.running_mean - rho * variance.sqrt() * means)
    return torch.cat(found)


def test_noise_from_a_published_seed_is_subtracted_and_from_a_secret_it_is_not(trained):
    mean, var = statistics(trained)
    published = released(trained, 0.5, seed=3)
    left = (subtracted(published, 0.5, 3) - mean).abs() / var.sqrt()
    assert left.max() < 1e-5, "the attack: every mean is back"
    given = replace(context(3), noise=noise_seed(3, "photos", "defence"))
    secret = BNPerturbation(rho=0.5).release(copy.deepcopy(trained), given)
    left = (subtracted(secret, 0.5, 3) - mean) / var.sqrt()
    assert left.std() > 0.5, "no better than the noise itself"


def test_a_secret_is_one_for_all_processes_and_for_its_owner_alone(fresh_home):
    with ThreadPoolExecutor(8) as pool:
        seeds = set(pool.map(lambda _: noise_seed("a", 1), range(32)))
    assert len(seeds) == 1
    assert secret_path().stat().st_mode & 0o077 == 0
    assert noise_seed("a", 2) != noise_seed("a", 1)
    secret_path().write_text("not hexadecimal")
    with pytest.raises(FaceVeilError, match="holds no secret"):
        noise_seed("a", 1)
