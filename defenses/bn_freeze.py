"""BatchNorm statistics of public faces, held fixed while the weights are trained on the members."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from benchmark.interfaces import AttackSpec, Batch, Defense, Reference, TrainerProtocol
from benchmark.models.bn_statistics import reestimate, with_statistics
from defenses.shared.adaptive import PAIRS_ANEW
from defenses.shared.public_photos import public_photos


class BNFreeze(Defense):
    """No training photo ever enters a running statistic: they are estimated on public faces and frozen.

    Estimated once they soon misfit the weights that move on, so that training from scratch fails; therefore they are
    estimated again, on public faces, every ``refresh`` epochs.  Fine-tuning needs no refresh (0).
    """

    name: ClassVar[str] = "bn_freeze"
    title: ClassVar[str] = "frozen BatchNorm"
    summary: ClassVar[str] = "Trains with frozen BatchNorm statistics that are estimated on public faces alone."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    family: ClassVar[str] = "bn_statistics"
    needs_public: ClassVar[bool] = True
    needs_batchnorm: ClassVar[bool] = True

    refresh: int = Field(1, ge=0, le=1000, description="epochs between two estimates on public faces; 0: once, at the start")

    def transform_batch(self, batch: Batch, trainer: TrainerProtocol) -> Batch:
        """Before the first batch of an epoch, the estimate; before every batch, BatchNorm in evaluation mode."""
        start_of_epoch = batch.step == batch.epoch * trainer.steps_per_epoch()
        due = batch.epoch == 0 or (self.refresh and batch.epoch % self.refresh == 0)
        if start_of_epoch and due:
            reestimate(trainer.backbone, public_photos(trainer), trainer.input, trainer.device)
        for layer in with_statistics(trainer.backbone).values():
            layer.eval()
        return batch

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Statistics of known members show what the weights do to them."""
        return (
            AttackSpec(name="bn_distance", settings={"statistics": "partial"}),
            AttackSpec(name="bn_distance", settings={"statistics": "auxiliary"}),
            AttackSpec(name="regrown_head", settings={"statistics": "auxiliary"}),
            AttackSpec(name="regrown_head", settings={"statistics": "auxiliary", "knowledge": "query_pool"}),
            PAIRS_ANEW,
        )
