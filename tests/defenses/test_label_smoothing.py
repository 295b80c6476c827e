from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from benchmark.interfaces import ForwardPass
from benchmark.protocol.registry import build_attack
from defenses.label_smoothing import LabelSmoothing


def loss_of(defense, trainer, epoch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    logits, labels = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 4, 0])
    passed = ForwardPass(None, None, labels, epoch, 0, embeddings=None, logits=logits)
    return defense.loss(F.cross_entropy(logits, labels, reduction="none"), passed, trainer), logits, labels


def test_the_full_value_is_torchs_own_label_smoothing(make_trainer):
    defense = LabelSmoothing(smoothing=0.1, start=0, full=0)
    found, logits, labels = loss_of(defense, make_trainer(defense), 0)
    torch.testing.assert_close(found, F.cross_entropy(logits, labels, reduction="none", label_smoothing=0.1))


def test_the_negative_form_rises_from_nothing(make_trainer):
    defense = LabelSmoothing(smoothing=-0.05)
    assert [defense.strength(epoch, 100) for epoch in (0, 49)] == [0, 0]
    assert defense.strength(61, 100) == pytest.approx(-0.05 * 12 / 25)
    assert defense.strength(74, 100) == defense.strength(99, 100) == -0.05
    early, logits, labels = loss_of(defense, make_trainer(defense), 1)
    torch.testing.assert_close(early, F.cross_entropy(logits, labels, reduction="none"))
    late, logits, labels = loss_of(defense, make_trainer(defense), 3)
    logs = F.log_softmax(logits, 1)
    torch.testing.assert_close(late, 1.05 * -logs[range(6), labels] + 0.05 * logs.mean(1))


def test_a_ramp_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValidationError, match="full must not lie before start"):
        LabelSmoothing(start=0.8, full=0.2)


def test_a_resumed_run_ends_in_the_same_weights(assert_resumes):
    assert_resumes(LabelSmoothing())


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in LabelSmoothing().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
