from __future__ import annotations

import copy

import torch

from benchmark.models.bn_statistics import with_statistics
from benchmark.protocol.registry import build_attack
from defenses.bn_recalibration import BNRecalibration

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def test_the_statistics_are_those_of_public_faces(trained, context, public):
    released = BNRecalibration().release(copy.deepcopy(trained), context())
    first = trained.conv1(public.load(range(len(public))).float() / 127.5 - 1)
    torch.testing.assert_close(released.bn1.running_mean, first.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(released.bn1.running_var, first.var((0, 2, 3)), rtol=1e-3, atol=1e-5)
    assert not released.training
    assert released.bn1.momentum == trained.bn1.momentum


def test_no_trace_of_the_training_statistics_is_left(trained, context):
    other = copy.deepcopy(trained)
    for layer in with_statistics(other).values():
        layer.running_mean.add_(5.0)
        layer.running_var.mul_(3.0)
    released, again = (BNRecalibration().release(copy.deepcopy(m), context()) for m in (trained, other))
    for name, tensor in released.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_weights_stay_to_the_last_bit(trained, context):
    released = BNRecalibration().release(copy.deepcopy(trained), context()).state_dict()
    for name, tensor in trained.state_dict().items():
        if name.rpartition(".")[2] not in STATISTICS:
            assert torch.equal(released[name], tensor), name


def test_the_attacks_estimate_other_statistics():
    attacks = [build_attack(spec) for spec in BNRecalibration().adaptive_attacks()]
    assert {a.statistics for a in attacks if a.name == "bn_distance"} == {"partial", "auxiliary"}
