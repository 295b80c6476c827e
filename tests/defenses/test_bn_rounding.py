from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError

from benchmark.models.bn_statistics import with_statistics
from benchmark.protocol.registry import build_attack
from defenses.bn_rounding import BNRounding, rounded


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_a_layer_has_no_more_values_than_levels(trained, context, bits):
    released = BNRounding(bits=bits).release(copy.deepcopy(trained), context())
    for name, layer in with_statistics(released).items():
        before = trained.get_submodule(name)
        assert len(layer.running_mean.unique()) <= 2**bits
        assert len(layer.running_var.unique()) <= 2**bits
        step = (before.running_mean.max() - before.running_mean.min()) / (2**bits - 1)
        assert (layer.running_mean - before.running_mean).abs().max() <= 0.501 * step + 1e-6
        assert (layer.running_var > 0).all()
    state = released.state_dict()
    for name, tensor in trained.state_dict().items():
        if not name.endswith(("running_mean", "running_var")):
            assert torch.equal(state[name], tensor), name


def test_many_bits_change_next_to_nothing(trained, context):
    released = BNRounding(bits=16).release(copy.deepcopy(trained), context())
    images = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(released(images), trained(images), rtol=1e-2, atol=1e-2)


def test_few_bits_are_read_by_the_attack(trained, context):
    released = BNRounding(bits=1).release(copy.deepcopy(trained), context())
    assert (released.bn1.running_mean != trained.bn1.running_mean).any()


def test_equal_values_and_dead_channels_survive(trained, context):
    assert torch.equal(rounded(torch.full((3,), 2.5), 4), torch.full((3,), 2.5))
    dead = copy.deepcopy(trained)
    dead.bn1.running_var[0] = 0
    assert torch.isfinite(BNRounding().release(dead, context()).bn1.running_var).all()


@pytest.mark.parametrize("bits", [0, 17, 2.5])
def test_strengths_out_of_range_are_refused(bits):
    with pytest.raises(ValidationError, match="bits"):
        BNRounding(bits=bits)


def test_the_attacks_do_not_believe_the_rounded_statistics():
    assert {build_attack(spec).statistics for spec in BNRounding().adaptive_attacks()} == {"auxiliary", "repaired"}
