from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.interfaces import BackboneSpec, FaceVeilError
from benchmark.models.backbones import create
from benchmark.protocol.registry import build_attack
from defenses.dropout import Dropout


@pytest.mark.parametrize(
    ("name", "argument"), [("iresnet_slim", "dropout"), ("ir_se_50", "dropout"), ("resnet10t", "drop_rate")]
)
def test_the_card_can_name_the_rate(name, argument):
    spec = Dropout(rate=0.3).prepare(BackboneSpec(name=name, kwargs={"norm": "group"}))
    assert spec.kwargs == {"norm": "group", argument: 0.3}
    assert Dropout(rate=0.3).prepare(spec) == spec


def test_units_are_dropped_in_training_alone():
    spec = Dropout(rate=0.5).prepare(BackboneSpec(name="iresnet_slim", kwargs={"width": 0.125, "input_size": [32, 32]}))
    backbone, images = create(spec.name, spec.kwargs), torch.rand(4, 3, 32, 32)
    dropped = []
    layer = next(m for m in backbone.modules() if isinstance(m, nn.Dropout))
    layer.register_forward_hook(lambda _m, inputs, out: dropped.append(((out == 0) & (inputs[0] != 0)).float().mean().item()))
    backbone.train()(images)
    backbone.eval()(images)
    assert dropped[0] == pytest.approx(0.5, abs=0.1)
    assert dropped[1] == 0


def test_a_backbone_without_such_a_layer_is_refused():
    with pytest.raises(FaceVeilError, match="mobilefacenet has no dropout"):
        Dropout().check(BackboneSpec(name="mobilefacenet"), 100)


def test_a_resumed_run_ends_in_the_same_weights(assert_resumes):
    assert_resumes(Dropout())


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in Dropout().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
