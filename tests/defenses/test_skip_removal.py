from __future__ import annotations

import pytest
import torch

from benchmark.interfaces import BackboneSpec, FaceVeilError
from benchmark.models.backbones import create
from benchmark.protocol.registry import build_attack
from benchmark.runtime.seeding import seeded
from defenses.skip_removal import SkipRemoval

KWARGS = {"width": 0.125, "embedding_size": 16, "input_size": [32, 32]}


def built(**kwargs):
    with seeded(0):
        return create("iresnet_slim", {**KWARGS, **kwargs}).eval()


def stage(backbone, name: str, x: torch.Tensor) -> torch.Tensor:
    return getattr(backbone, name)[0](x)


def test_the_card_can_name_it():
    spec = SkipRemoval(scale=0.5).prepare(BackboneSpec(name="iresnet_slim", kwargs=KWARGS))
    assert spec.kwargs == {**KWARGS, "last_skip": 0.5}
    assert SkipRemoval(scale=0.5).prepare(spec) == spec


def test_only_the_last_stage_loses_its_skips():
    removed = built(last_skip=0.0)
    x3, x4 = torch.rand(2, 16, 8, 8), torch.rand(2, removed.layer4[0].conv1.in_channels, 4, 4)
    for scale in (0.0, 0.5, 1.0):
        backbone = built(last_skip=scale)
        block = backbone.layer4[0]
        branch = block.bn3(block.conv2(block.prelu(block.bn2(block.conv1(block.bn1(x4))))))
        skip = 0 if scale == 0 else scale * block.downsample(x4)
        torch.testing.assert_close(block(x4), branch + skip)
        second = backbone.layer4[1]
        x = block(x4)
        inner = second.bn3(second.conv2(second.prelu(second.bn2(second.conv1(second.bn1(x))))))
        torch.testing.assert_close(second(x), inner + scale * x)
        third = backbone.layer3[0]
        x3 = torch.rand(2, third.conv1.in_channels, 8, 8)
        inner = third.bn3(third.conv2(third.prelu(third.bn2(third.conv1(third.bn1(x3))))))
        torch.testing.assert_close(third(x3), inner + third.downsample(x3))
    assert removed.layer4[0].downsample is None


def test_the_default_changes_nothing():
    plain, named = built(), built(last_skip=1.0)
    assert plain.state_dict().keys() == named.state_dict().keys()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(plain(images), named(images))


def test_other_backbones_are_refused():
    with pytest.raises(FaceVeilError, match="skip_removal changes IResNet backbones, not 'mobilefacenet'"):
        SkipRemoval().prepare(BackboneSpec(name="mobilefacenet"))


def test_a_resumed_run_ends_in_the_same_weights(assert_resumes):
    assert_resumes(SkipRemoval())


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in SkipRemoval().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
