"""Stronger weight decay."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from benchmark.interfaces import AttackSpec, Defense, Reference
from benchmark.protocol.track import TrainingConfig
from defenses.shared.adaptive import against_training


class WeightDecay(Defense):
    """The track's training with another weight decay (on matrices and kernels, as the track's own)."""

    name: ClassVar[str] = "weight_decay"
    title: ClassVar[str] = "weight decay"
    summary: ClassVar[str] = "The track's training with a stronger weight decay."
    reference: ClassVar[Reference] = Reference(
        title="Membership Inference Attacks Against Machine Learning Models", where="S&P 2017", arxiv="1610.05820"
    )
    family: ClassVar[str] = "training"

    decay: float = Field(5e-3, ge=0, le=1, description="in place of the track's (5e-4)")

    def display(self) -> str:
        return f"weight decay {self.decay:g}"

    def configure(self, config: TrainingConfig) -> TrainingConfig:
        return config.model_copy(update={"weight_decay": self.decay})

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        return against_training()
