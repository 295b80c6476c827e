from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmark.interfaces import DefenseSpec, FaceVeilError, ForwardPass
from benchmark.protocol.registry import build_attack
from benchmark.training.composition import compose
from defenses.relax_loss import RelaxLoss, flattening
from defenses.undefended import Undefended


def passed(epoch: int, scale: float = 1.0) -> tuple[torch.Tensor, ForwardPass]:
    logits = (scale * torch.randn(6, 5, generator=torch.Generator().manual_seed(0))).requires_grad_()
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    losses = F.cross_entropy(logits, labels, reduction="none")
    return losses, ForwardPass(None, None, labels, epoch, 0, embeddings=None, logits=logits)


def test_even_epochs_climb_below_the_level_and_descend_above():
    for level, sign in ((1000.0, -1), (1e-3, 1)):
        losses, batch = passed(epoch=0)
        plain = torch.autograd.grad(losses.mean(), batch.logits, retain_graph=True)[0]
        found = torch.autograd.grad(RelaxLoss(level=level).loss(losses, batch, None).mean(), batch.logits)[0]
        torch.testing.assert_close(found, sign * plain)


def test_odd_epochs_descend_above_the_level():
    losses, batch = passed(epoch=1)
    assert torch.equal(RelaxLoss(level=1e-3).loss(losses, batch, None), losses)


def test_below_the_level_odd_epochs_make_the_other_classes_equal_and_keep_the_label():
    losses, batch = passed(epoch=1)
    own = torch.arange(6), batch.labels
    found = torch.autograd.grad(RelaxLoss(level=1000.0).loss(losses, batch, None).sum(), batch.logits)[0]
    posterior = batch.logits.detach().softmax(1)
    wanted = posterior - (1 - posterior[own])[:, None] / 4  # the slope of a cross entropy is prediction - target
    wanted[own] = 0
    torch.testing.assert_close(found, wanted)
    even = torch.full((1, 5), 0.1).index_fill(1, torch.tensor([2]), 0.6).log().requires_grad_()
    (still,) = torch.autograd.grad(flattening(even, torch.tensor([2])).sum(), even)
    torch.testing.assert_close(still, torch.zeros(1, 5))


def test_the_loss_stays_at_the_level(make_trainer):
    config = make_trainer(Undefended()).config.model_copy(update={"epochs": 20})
    ends = []
    for defense in (Undefended(), RelaxLoss(level=8.0)):
        trainer = make_trainer(defense, config=config)
        trainer.run()
        images, labels = trainer.batch(range(30), 0)
        trainer.backbone.eval()
        ends.append(F.cross_entropy(trainer.head(trainer.backbone(images), labels), labels).item())
    assert ends[1] > ends[0] + 1


def test_it_is_refused_beside_private_training():
    with pytest.raises(FaceVeilError, match="couples"):
        compose([DefenseSpec(name="dp_sgd"), DefenseSpec(name="relax_loss")])


def test_a_resumed_run_ends_in_the_same_weights(assert_resumes):
    assert_resumes(RelaxLoss())


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in RelaxLoss().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
