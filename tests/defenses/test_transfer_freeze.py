from __future__ import annotations

import pytest
import torch

from benchmark.interfaces import FaceVeilError
from benchmark.protocol.registry import build_attack
from defenses.shared.freezing import first_layers, layers
from defenses.transfer_freeze import TransferFreeze


def state_of(modules) -> list[torch.Tensor]:
    return [t.clone() for m in modules for t in (*m.parameters(recurse=False), *m.buffers(recurse=False))]


def test_members_change_the_last_layers_alone_statistics_included(make_trainer, public, monkeypatch):
    defense = TransferFreeze(pretrain_epochs=1, frozen=0.6)
    trainer = make_trainer(defense, public=public)
    fixed = first_layers(trainer.backbone, 0.6)
    free = [m for m in layers(trainer.backbone) if m not in fixed]
    assert fixed[0] is trainer.backbone.conv1
    assert trainer.backbone.features in free
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in fixed)
    drawn = state_of(fixed)
    after_public = []
    run = type(trainer).run

    def record(self, epochs=None):
        if self is trainer:
            after_public.extend([state_of(fixed), state_of(free)])
        run(self, epochs)

    monkeypatch.setattr(type(trainer), "run", record)
    defense.fit(trainer)
    kept, changed = after_public
    assert all(torch.equal(a, b) for a, b in zip(kept, state_of(fixed), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(drawn, kept, strict=True)), "the public faces did train them"
    assert sum(not torch.equal(a, b) for a, b in zip(changed, state_of(free), strict=True)) > len(changed) / 2
    assert all(p.requires_grad for m in fixed for p in m.parameters(recurse=False))
    assert trainer.provenance["pretraining"]["people"] == 30


def test_the_last_layer_is_always_trained(make_trainer, public):
    backbone = make_trainer(TransferFreeze()).backbone
    assert first_layers(backbone, 1.0) == layers(backbone)[:-1]
    assert first_layers(backbone, 0.0) == []


def test_public_faces_are_needed(make_trainer):
    with pytest.raises(FaceVeilError, match="public faces"):
        TransferFreeze().fit(make_trainer(TransferFreeze()))


def test_a_resumed_run_ends_in_the_same_weights(assert_resumes, public):
    assert_resumes(TransferFreeze(pretrain_epochs=1), public=public)


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in TransferFreeze().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
