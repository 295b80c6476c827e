"""Transfer with frozen early layers (TL-DMI): members reach only the last layers."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, PositiveInt

from benchmark.interfaces import AttackSpec, Batch, Defense, Reference, TrainerProtocol
from defenses.shared.adaptive import against_training
from defenses.shared.freezing import first_layers, frozen
from defenses.shared.pretraining import pretrain


class TransferFreeze(Defense):
    """The backbone is trained on public faces; then its first layers stay as they are and the rest is trained on members.

    Frozen layers keep their BatchNorm statistics, too: nothing in them has seen a member.
    """

    name: ClassVar[str] = "transfer_freeze"
    title: ClassVar[str] = "public pre-training, frozen layers"
    summary: ClassVar[str] = "Pre-training on public faces, then training on members with the first layers frozen."
    reference: ClassVar[Reference] = Reference(
        title="Model Inversion Robustness: Can Transfer Learning Help?", where="CVPR 2024", arxiv="2405.05588"
    )
    family: ClassVar[str] = "training"
    needs_public: ClassVar[bool] = True

    pretrain_epochs: PositiveInt = Field(8, le=1000, description="passes over the public photos")
    frozen: float = Field(0.7, ge=0, le=1, description="share of the layers, from the photo on; the last is always trained")

    def fit(self, trainer: TrainerProtocol) -> None:
        pretrain(trainer, self.pretrain_epochs)
        kept = [p for layer in first_layers(trainer.backbone, self.frozen) for p in layer.parameters(recurse=False)]
        with frozen(kept):
            trainer.run()

    def transform_batch(self, batch: Batch, trainer: TrainerProtocol) -> Batch:
        """Leaves the photos alone; puts the frozen layers' norms into evaluation mode, where they learn nothing."""
        for layer in first_layers(trainer.backbone, self.frozen):
            layer.eval()
        return batch

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        return against_training()
