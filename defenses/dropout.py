"""Dropout before the embedding layer."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from benchmark.interfaces import AttackSpec, BackboneSpec, Defense, FaceVeilError, Reference
from defenses.shared.adaptive import against_training

IRESNETS = ("iresnet", "ir_se")  # our backbones with a `dropout` argument, by the start of their names


class Dropout(Defense):
    """Units of the last map are dropped at random while training, so that no photo can lean on few of them.

    What is released embeds with all units: whoever attacks sees the same network as without it, a little less fitted.
    """

    name: ClassVar[str] = "dropout"
    title: ClassVar[str] = "dropout"
    summary: ClassVar[str] = "Dropout before the embedding layer while training."
    reference: ClassVar[Reference] = Reference(
        title="Dropout: A Simple Way to Prevent Neural Networks from Overfitting", where="JMLR 2014"
    )
    family: ClassVar[str] = "training"

    rate: float = Field(0.4, ge=0, lt=1, description="share of units dropped")

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        argument = "dropout" if backbone.name.startswith(IRESNETS) else "drop_rate"
        return BackboneSpec(name=backbone.name, kwargs={**backbone.kwargs, argument: self.rate})

    def check(self, backbone: BackboneSpec, photos: int) -> None:  # noqa: ARG002
        if backbone.name == "mobilefacenet":
            raise FaceVeilError("dropout: mobilefacenet has no dropout layer; choose an iresnet, ir_se or timm backbone.")

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        return against_training()
