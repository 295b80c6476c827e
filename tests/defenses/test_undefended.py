from __future__ import annotations

import torch

from benchmark.protocol.registry import build_attack
from benchmark.runtime.seeding import weights_digest
from defenses.undefended import Undefended


def test_trains_the_plain_loop_and_changes_nothing(make_trainer, track):
    plain, defended = make_trainer(Undefended()), make_trainer(Undefended())
    plain.run()
    Undefended().fit(defended)
    assert defended.epoch == track.training.epochs
    assert weights_digest(defended.backbone) == weights_digest(plain.backbone)
    assert Undefended().prepare(track.backbone) == track.backbone
    assert Undefended().inference() is None


def test_release_and_loss_leave_things_as_they_are(make_trainer):
    backbone = make_trainer(Undefended()).backbone
    before = weights_digest(backbone)
    assert Undefended().release(backbone, None) is backbone
    assert weights_digest(backbone) == before
    losses = torch.rand(3)
    assert Undefended().loss(losses, None, None) is losses


def test_settings_round_trip_and_attacks_exist():
    assert Undefended(**Undefended().settings()) == Undefended()
    assert [build_attack(spec).name for spec in Undefended().adaptive_attacks()] == ["bn_distance"]
