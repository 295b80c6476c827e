from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from benchmark.interfaces import Batch
from benchmark.protocol.registry import build_attack
from benchmark.training.pipeline import train_backbone
from defenses.vib import VIB, divergence


def test_the_divergence_is_the_textbooks():
    mean, log_variance = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    wanted = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(mean, log_variance), wanted)


def test_the_head_sees_samples_around_the_released_embedding(make_trainer):
    defense = VIB()
    trainer = make_trainer(defense)
    torch.nn.init.constant_(trainer.extra["vib"].bias, 0.0)
    batch = Batch(None, None, None, 0, 0)
    embeddings = torch.zeros(4000, 16)
    seen = defense.embed(embeddings, batch, trainer)
    assert seen.std().item() == pytest.approx(1, rel=0.02)
    assert abs(seen.mean().item()) < 0.02


def test_more_beta_more_noise(make_trainer):
    spread = []
    for beta in (0.0, 1.0):
        trainer = make_trainer(VIB(beta=beta))
        trainer.run()
        spread.append(trainer.extra["vib"].bias.mean().item())
    assert spread[1] > spread[0] + 0.1


def test_what_is_released_has_no_part_of_the_bottleneck(track, photos):
    model = train_backbone(track, VIB(), photos, seed=0)
    assert not any("vib" in name for name in model.backbone.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(model.backbone(images), model.backbone(images))


def test_a_resumed_run_ends_in_the_same_weights(assert_resumes):
    assert_resumes(VIB())


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in VIB().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
