from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmark.interfaces import Batch, DefenseSpec, FaceVeilError, ForwardPass
from benchmark.protocol.registry import build_attack
from benchmark.training.composition import compose
from defenses.augmentation import Augmentation

PLAIN = {"flip": False, "crop": 0.0, "erase": 0.0}


def batch_of(trainer, index, epoch: int = 0) -> Batch:
    return Batch(np.array(index), *trainer.batch(np.array(index), epoch), epoch, 0)


def test_a_view_depends_on_photo_and_epoch_and_not_on_the_batch(make_trainer):
    defense = Augmentation(erase=1.0)
    trainer = make_trainer(defense)
    together = defense.transform_batch(batch_of(trainer, [3, 7, 20]), trainer).inputs
    alone = defense.transform_batch(batch_of(trainer, [7]), trainer).inputs
    assert torch.equal(together[1], alone[0])
    later = defense.transform_batch(batch_of(trainer, [7], epoch=1), trainer).inputs
    assert not torch.equal(alone, later)
    assert not torch.equal(alone, batch_of(trainer, [7]).inputs)


def test_switched_off_the_photos_stay(make_trainer):
    defense = Augmentation(**PLAIN)
    trainer = make_trainer(defense)
    batch = batch_of(trainer, [0, 1, 2])
    assert torch.equal(defense.transform_batch(batch, trainer).inputs, batch.inputs)


def test_mixup_adds_photos_in_pairs_and_their_losses_alike(make_trainer):
    defense = Augmentation(**PLAIN, mixup=1.0)
    trainer = make_trainer(defense)
    batch = batch_of(trainer, [0, 8, 14, 20])
    mixed = defense.transform_batch(batch, trainer)
    partner, share = mixed.notes["augmentation"]
    assert 0 < share < 1
    torch.testing.assert_close(mixed.inputs, share * batch.inputs + (1 - share) * batch.inputs[partner])
    embeddings = trainer.backbone(mixed.inputs)
    logits = trainer.head(embeddings, batch.labels)
    losses = F.cross_entropy(logits, batch.labels, reduction="none")
    passed = ForwardPass(mixed.index, mixed.inputs, mixed.labels, 0, 0, mixed.notes, embeddings=embeddings, logits=logits)
    others = batch.labels[partner]
    wanted = share * losses + (1 - share) * F.cross_entropy(trainer.head(embeddings, others), others, reduction="none")
    torch.testing.assert_close(defense.loss(losses, passed, trainer), wanted)
    assert not torch.allclose(wanted, losses)


def test_it_is_refused_beside_private_training():
    with pytest.raises(FaceVeilError, match="dp_sgd"):
        compose([DefenseSpec(name="dp_sgd"), DefenseSpec(name="augmentation")])


@pytest.mark.parametrize("settings", [{}, {"mixup": 0.4}], ids=str)
def test_a_resumed_run_ends_in_the_same_weights(assert_resumes, settings):
    assert_resumes(Augmentation(**settings))


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in Augmentation().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
