"""Another normalisation than BatchNorm: no statistics of the training photos are kept."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from benchmark.interfaces import AttackSpec, BackboneSpec, Batch, Defense, Reference, TrainerProtocol
from benchmark.models.normalisation import named
from benchmark.protocol.track import TrainingConfig
from defenses.shared.adaptive import CALIBRATED_HEAD, against_missing_statistics


class NormSwap(Defense):
    """GroupNorm, LayerNorm, or no normalisation with standardised weights, trained from the start.

    Without BatchNorm the embeddings of untrained networks all point nearly the same way, and a margin that is there from the
    start keeps it so; the margin therefore rises from 0 during the first ``warmup`` of the steps.  AdamW suits these networks
    better than the track's SGD (TAR@FAR=1e-3 on ``synthetic-quick``, seed 0, GroupNorm: SGD 0.046, with the rising margin
    0.367, with both 0.520; BatchNorm 0.638).

    The paper's attack reads running statistics, which these networks do not have.  Whoever knows that compares features with
    their means on public faces.
    """

    name: ClassVar[str] = "norm_swap"
    title: ClassVar[str] = "another normalisation"
    summary: ClassVar[str] = "GroupNorm, LayerNorm or no norm (weight standardisation) in place of BatchNorm."
    reference: ClassVar[Reference] = Reference(title="Group Normalization", where="ECCV 2018", arxiv="1803.08494")
    family: ClassVar[str] = "architecture"

    norm: Literal["group", "layer", "none"] = Field("group", description="what stands where BatchNorm stood")
    optimizer: Literal["adamw", "track"] = Field("adamw", description="AdamW with lr and decay, or the track's own schedule")
    lr: float = Field(3e-3, gt=0, le=10, description="peak rate of AdamW")
    decay: float = Field(0.05, ge=0, le=10, description="weight decay of AdamW")
    warmup: float = Field(0.5, ge=0, le=1, description="share of the steps in which the head's margin rises from 0")

    def display(self) -> str:
        return {"group": "GroupNorm for BatchNorm", "layer": "LayerNorm for BatchNorm", "none": "no normalisation"}[self.norm]

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        return named(backbone, self.norm)

    def configure(self, config: TrainingConfig) -> TrainingConfig:
        if self.optimizer == "track":
            return config
        return config.model_copy(update={"optimizer": "adamw", "lr": self.lr, "weight_decay": self.decay})

    def transform_batch(self, batch: Batch, trainer: TrainerProtocol) -> Batch:
        """Leaves the photos alone; sets the margin of this step."""
        rising = self.warmup * trainer.step_count()
        trainer.head.ease(1.0 if batch.step >= rising else batch.step / rising)
        return batch

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Distances to the means of features on public faces, and the head grown again beside same-defence shadows."""
        return (*against_missing_statistics(), CALIBRATED_HEAD)
