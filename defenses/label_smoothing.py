"""Label smoothing, positive and negative."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from benchmark.interfaces import AttackSpec, Defense, ForwardPass, Reference, TrainerProtocol
from defenses.shared.adaptive import against_training


class LabelSmoothing(Defense):
    """(1 - a) CE + a mean_c(-log p_c).

    Positive a makes members more alike and has been found to *help* inversion; negative a hinders it (arXiv 2310.06549).
    From ``start`` to ``full``, as shares of the epochs, a rises from 0 to its value, as the negative form needs.
    """

    name: ClassVar[str] = "label_smoothing"
    title: ClassVar[str] = "label smoothing"
    summary: ClassVar[str] = "Cross entropy against smoothed labels, positive or negative."
    reference: ClassVar[Reference] = Reference(
        title="Be Careful What You Smooth For: Label Smoothing Can Be a Privacy Shield but Also a Catalyst for Model Inversion "
        "Attacks",
        where="ICLR 2024",
        arxiv="2310.06549",
    )
    family: ClassVar[str] = "training"

    smoothing: float = Field(-0.05, ge=-1, lt=1, description="a; negative values sharpen")
    start: float = Field(0.5, ge=0, le=1, description="share of the epochs after which a begins to rise")
    full: float = Field(0.75, ge=0, le=1, description="share of the epochs after which a has its value")

    @model_validator(mode="after")
    def _in_order(self) -> LabelSmoothing:
        if self.full < self.start:
            raise ValueError("full must not lie before start")
        return self

    def strength(self, epoch: int, epochs: int) -> float:
        """a in an epoch (0 for the first), by how much of the training is done at its end."""
        done = (epoch + 1) / epochs
        if done >= self.full:
            return self.smoothing
        return self.smoothing * max(0.0, done - self.start) / (self.full - self.start)

    def loss(self, loss: Tensor, batch: ForwardPass, trainer: TrainerProtocol) -> Tensor:
        a = self.strength(batch.epoch, trainer.config.epochs)
        return (1 - a) * loss - a * F.log_softmax(batch.logits, 1).mean(1)

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        return against_training(AttackSpec(name="embedding_norm"))
