from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from benchmark.models.backbones import create
from benchmark.models.normalisation import batchnorms, norm_kinds
from benchmark.protocol.registry import build_attack
from defenses.norm_swap import NormSwap


@pytest.mark.parametrize(("norm", "kinds"), [("group", {"group"}), ("layer", {"group"}), ("none", set())])
def test_trains_without_batchnorm_and_learns(norm, kinds, make_trainer, track):
    config = track.training.model_copy(update={"epochs": 8})
    trainer = make_trainer(NormSwap(norm=norm), config=config)
    assert norm_kinds(trainer.backbone) == kinds
    trainer.run()
    assert trainer.history[-1].accuracy > 0.9
    assert not [name for name, _ in trainer.backbone.named_buffers() if "running" in name]


def test_layer_norm_is_one_group_and_group_norm_several(make_trainer):
    groups = {
        norm: {m.num_groups for m in make_trainer(NormSwap(norm=norm)).backbone.modules() if isinstance(m, nn.GroupNorm)}
        for norm in ("group", "layer")
    }
    assert groups["layer"] == {1}
    assert max(groups["group"]) > 1


@pytest.mark.parametrize("norm", ["group", "layer", "none"])
def test_no_photo_looks_at_another(norm, make_trainer):
    backbone = make_trainer(NormSwap(norm=norm)).backbone.train()
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(backbone(images)[1:2], backbone(images[1:2]), rtol=1e-3, atol=1e-5)


def test_prepared_twice_is_prepared_once(track):
    once = NormSwap(norm="none").prepare(track.backbone)
    assert NormSwap(norm="none").prepare(once) == once
    assert NormSwap(norm="group").prepare(once).kwargs["norm"] == "group"
    assert not batchnorms(create(once.name, {**once.kwargs, "input_size": [32, 32]}))


def test_the_margin_rises_from_nothing_and_is_whole_in_the_end(make_trainer, track):
    config = track.training.model_copy(update={"epochs": 4})
    trainer, margins = make_trainer(NormSwap(warmup=0.5), config=config), []
    with_margin = trainer.head.with_margin

    def spy(*args):
        margins.append(trainer.head.margin)
        return with_margin(*args)

    trainer.head.with_margin = spy
    trainer.run()
    half = len(margins) // 2
    assert margins[0] == 0.0
    assert margins[:half] == sorted(set(margins[:half])), "a little more at every step"
    assert set(margins[half:]) == {trainer.head.whole_margin}
    assert trainer.head.margin == 0.5
    plain = make_trainer(NormSwap(warmup=0.0), config=config)
    plain.run(1)
    assert plain.head.margin == 0.5


def test_it_has_a_schedule_of_its_own_on_the_tracks_epochs(track):
    config = NormSwap(lr=1e-3).configure(track.training)
    assert (config.optimizer, config.lr, config.weight_decay, config.epochs) == ("adamw", 1e-3, 0.05, track.training.epochs)
    assert NormSwap(optimizer="track").configure(track.training) == track.training


def test_other_norms_are_refused():
    with pytest.raises(ValidationError, match="norm"):
        NormSwap(norm="batch")


def test_the_attacks_read_feature_means():
    attacks = [build_attack(spec) for spec in NormSwap().adaptive_attacks() if spec.name == "bn_distance"]
    assert {(a.statistics, a.statistic) for a in attacks} == {("feature_means", "mean"), ("feature_means", "mean_var")}
