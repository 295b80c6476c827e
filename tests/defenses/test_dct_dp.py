from __future__ import annotations

import pytest
import torch

from benchmark.interfaces import BackboneSpec, DefenseSpec, SettingsError
from benchmark.models.backbones import create
from benchmark.protocol.registry import build_defense
from benchmark.runtime.seeding import seeded
from defenses.dct_dp import DctDP

KWARGS = {"width": 0.125, "embedding_size": 16, "input_size": [32, 32]}


def built(budget: float):
    with seeded(0):
        return create("iresnet_slim", DctDP(budget=budget).prepare(BackboneSpec(name="iresnet_slim", kwargs=KWARGS)).kwargs)


def test_the_card_can_name_it():
    spec = DctDP(budget=2.0).prepare(BackboneSpec(name="iresnet_slim", kwargs=KWARGS))
    assert spec.kwargs == {**KWARGS, "front": ["noisy_spectrum", 2.0]}
    assert DctDP(budget=2.0).prepare(spec) == spec


def test_a_smaller_budget_hides_more_of_the_photo():
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    agreement = []
    for budget in (0.1, 1000.0):
        front = built(budget).eval().front
        clean = front.spectrum(images)[:, :, 1:].flatten(1)
        agreement.append(torch.cosine_similarity(front(images).flatten(1), clean).mean().item())
    assert agreement[0] < 0.3
    assert agreement[1] > 0.99


def test_a_budget_out_of_range_is_refused():
    with pytest.raises(SettingsError, match="budget"):
        build_defense(DefenseSpec(name="dct_dp", settings={"budget": 0}))
