from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from benchmark.interfaces import ForwardPass
from benchmark.protocol.registry import build_attack
from defenses.hamp import HAMP, label_probability, soft_entropy


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_soft_label_has_the_promised_entropy(share):
    own = label_probability(100, share)
    assert own > 1 / 100
    assert soft_entropy(100, own) == pytest.approx(share * math.log(100), rel=1e-6)
    assert soft_entropy(100, own) == pytest.approx(
        Categorical(torch.tensor([own] + 99 * [(1 - own) / 99])).entropy().item(), 1e-4
    )


def test_the_ends_are_hard_and_uniform_labels():
    assert label_probability(10, 0.0) == pytest.approx(1)
    assert label_probability(10, 1.0) == pytest.approx(0.1, abs=1e-4)


def test_the_loss_is_the_divergence_less_the_reward():
    logits, labels = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 5, 2, 2])
    defense = HAMP(entropy=0.4, reward=0.3)
    own = label_probability(6, 0.4)
    soft = torch.full((4, 6), (1 - own) / 5).scatter(1, labels[:, None], own)
    wanted = kl_divergence(Categorical(soft), Categorical(logits=logits)) - 0.3 * Categorical(logits=logits).entropy()
    found = defense.loss(None, ForwardPass(None, None, labels, 0, 0, embeddings=None, logits=logits), None)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_a_resumed_run_ends_in_the_same_weights(assert_resumes):
    assert_resumes(HAMP())


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in HAMP().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
