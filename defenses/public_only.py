"""The other control: a backbone that never saw a member."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, PositiveInt

from benchmark.interfaces import AttackSpec, Defense, Reference, TrainerProtocol
from defenses.shared.pretraining import pretrain


class PublicOnly(Defense):
    """Trained on public faces alone, or handed out as the public weights that others start from.

    What the private photos are worth is what other entries recognise beyond it.  Whatever an attack finds in it is chance.
    """

    name: ClassVar[str] = "public_only"
    title: ClassVar[str] = "public faces alone"
    summary: ClassVar[str] = "The private photos are left alone: public faces alone, or the public weights as they are."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    family: ClassVar[str] = "control"
    needs_public: ClassVar[bool] = True
    trains_on_members: ClassVar[bool] = False

    epochs: PositiveInt = Field(
        10, le=1000, description="passes over the public photos; none where training starts from given weights"
    )

    def fit(self, trainer: TrainerProtocol) -> None:
        pretrain(trainer, self.epochs)

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """There is nothing to adapt to; the undefended entry's keeps the two comparable."""
        return (AttackSpec(name="bn_distance", settings={"statistics": "auxiliary"}),)
