"""HAMP's training part: high-entropy soft labels and a reward for uncertain predictions."""

from __future__ import annotations

import math
from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from benchmark.interfaces import AttackSpec, Defense, ForwardPass, Reference, TrainerProtocol
from defenses.shared.adaptive import against_training


class HAMP(Defense):
    """KL(soft label || prediction) - a H(prediction).

    The soft label gives the person the largest p at which its entropy is at least ``entropy`` x log(classes), and the other
    people equal shares of the rest.  HAMP's second part changes output scores; a backbone without a head has none.
    """

    name: ClassVar[str] = "hamp"
    title: ClassVar[str] = "HAMP"
    summary: ClassVar[str] = "High-entropy soft labels with an entropy reward (HAMP's training part)."
    reference: ClassVar[Reference] = Reference(
        title="Overconfidence is a Dangerous Thing: Mitigating Membership Inference Attacks by Enforcing Less Confident "
        "Prediction",
        where="NDSS 2024",
        arxiv="2307.01610",
    )
    family: ClassVar[str] = "training"

    entropy: float = Field(0.5, ge=0, le=1, description="least entropy of a soft label, as a share of the largest")
    reward: float = Field(0.005, ge=0, le=1000, description="a: weight of the prediction's entropy")

    def loss(self, loss: Tensor, batch: ForwardPass, trainer: TrainerProtocol) -> Tensor:  # noqa: ARG002
        classes = batch.logits.shape[1]
        own = label_probability(classes, self.entropy)
        rest = (1 - own) / max(1, classes - 1)
        logs = F.log_softmax(batch.logits, 1)
        label = logs.gather(1, batch.labels[:, None]).squeeze(1)
        divergence = -own * label - rest * (logs.sum(1) - label) - soft_entropy(classes, own)
        return divergence + self.reward * (logs.exp() * logs).sum(1)

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        return against_training()


def soft_entropy(classes: int, own: float) -> float:
    """Entropy of a label that gives ``own`` to one class and equal shares of the rest to the others."""
    rest = 1 - own
    return sum(-mass * math.log(mass / count) for mass, count in ((own, 1), (rest, classes - 1)) if mass > 0 and count)


def label_probability(classes: int, share: float) -> float:
    """The largest probability of the label at which the entropy is at least ``share`` x log(classes), by bisection."""
    low, high, wanted = 1 / classes, 1.0, share * math.log(classes)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if soft_entropy(classes, middle) >= wanted else (low, middle)
    return low
