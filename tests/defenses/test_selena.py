from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from benchmark.protocol.registry import build_attack
from benchmark.training.loop import Trainer
from defenses.selena import SELENA
from defenses.shared.imitation import Imitation


def test_every_photo_is_left_out_by_as_many_networks():
    blind = SELENA(models=6, left_out=2).blind(np.arange(40) // 4, seed=0)
    assert blind.shape == (40, 6)
    assert (blind.sum(1) == 2).all()
    assert len(np.unique(blind, axis=0)) > 10
    assert not np.array_equal(blind, SELENA(models=6, left_out=2).blind(np.arange(40) // 4, seed=1))


def test_people_are_left_out_whole():
    identity = np.arange(40) // 4
    blind = SELENA(models=6, left_out=2, unit="person").blind(identity, seed=0)
    assert all(len(np.unique(blind[identity == person], axis=0)) == 1 for person in range(10))


def test_no_network_sees_what_it_is_asked_about(make_trainer, monkeypatch):
    defense = SELENA(models=3, left_out=1)
    seen, run = [], Trainer.run

    def record(self, epochs=None):
        seen.append((self.photos.keys, self.defense))
        run(self, epochs)

    monkeypatch.setattr(Trainer, "run", record)
    trainer = make_trainer(defense)
    defense.fit(trainer)
    blind = defense.blind(trainer.photos.identity, 0)
    assert len(seen) == 4
    for number, (keys, _) in enumerate(seen[:3]):
        assert set(keys) == {k for k, b in zip(trainer.photos.keys, blind[:, number], strict=True) if not b}
    keys, imitation = seen[3]
    assert list(keys) == list(trainer.photos.keys)
    assert isinstance(imitation, Imitation)
    assert np.array_equal(imitation._asked.numpy(), blind)
    assert imitation._targets.shape == (30, 3, 16)
    assert len(trainer.history) == 16


def test_teachers_that_are_not_asked_do_not_count(make_trainer):
    from benchmark.interfaces import ForwardPass

    targets = torch.nn.functional.normalize(torch.randn(30, 2, 16, generator=torch.Generator().manual_seed(0)), dim=2)
    asked = torch.tensor([[True, False]] * 30)
    losses = []
    for changed in (targets, torch.stack([targets[:, 0], -targets[:, 1]], 1)):
        imitation = Imitation.of(changed, asked)
        trainer = make_trainer(imitation)
        embeddings = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
        passed = ForwardPass(np.arange(4), None, None, 0, 0, embeddings=embeddings, logits=None)
        losses.append(imitation.loss(None, passed, trainer))
    assert torch.equal(*losses)


def test_settings_that_leave_nobody_are_refused():
    with pytest.raises(ValidationError, match="left_out must be below models"):
        SELENA(models=3, left_out=3)


def test_a_resumed_run_ends_in_the_same_weights(assert_resumes):
    assert_resumes(SELENA(models=2, left_out=1))


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in SELENA().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
