"""RelaxLoss: hold the training loss at a level instead of driving it to zero."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from benchmark.interfaces import AttackSpec, Defense, ForwardPass, Reference, TrainerProtocol
from defenses.shared.adaptive import against_training


class RelaxLoss(Defense):
    """Even epochs descend |L - a|, L the batch's mean loss, and so climb where L is below a.

    Odd epochs descend L where it is above a, and flatten the posterior where it is below: the label keeps its probability,
    the other classes are to share the rest equally.  Margin losses are several times larger than cross entropy without
    margin, and so is the default of a.
    """

    name: ClassVar[str] = "relax_loss"
    title: ClassVar[str] = "RelaxLoss"
    summary: ClassVar[str] = "Holds the training loss at a level (RelaxLoss), flattening posteriors below it."
    reference: ClassVar[Reference] = Reference(
        title="RelaxLoss: Defending Membership Inference Attacks without Losing Utility", where="ICLR 2022", arxiv="2207.05801"
    )
    family: ClassVar[str] = "training"
    couples_samples: ClassVar[bool] = True  # the batch's mean decides for each photo

    level: float = Field(4.0, gt=0, le=1000, description="a: mean training loss, with the head's margin, that is held")

    def loss(self, loss: Tensor, batch: ForwardPass, trainer: TrainerProtocol) -> Tensor:  # noqa: ARG002
        mean = loss.mean()
        if batch.epoch % 2 == 0:
            return (mean - self.level).abs().expand_as(loss)
        return loss if mean > self.level else flattening(batch.logits, batch.labels)

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        return against_training()


def flattening(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy (B,) to the own probability for the label and equal shares of the rest for all other classes."""
    classes = logits.shape[1]
    own = logits.detach().softmax(1).gather(1, labels[:, None])
    targets = ((1 - own) / max(1, classes - 1)).expand_as(logits).scatter(1, labels[:, None], own)
    return -(targets * F.log_softmax(logits, 1)).sum(1).to(torch.float32)
