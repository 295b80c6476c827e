"""Removal or scaling of the last skip connections (RoLSS)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from benchmark.interfaces import AttackSpec, BackboneSpec, Defense, FaceVeilError, Reference
from defenses.shared.adaptive import against_training


class SkipRemoval(Defense):
    """The last stage of a residual network is trained without its skip connections, or with scaled ones.

    Skips carry detail of the photo past the layers, which inversion follows backwards.  An argument of the IResNet
    backbones (``last_skip``), so that a card can name it.
    """

    name: ClassVar[str] = "skip_removal"
    title: ClassVar[str] = "skip removal (RoLSS)"
    summary: ClassVar[str] = "No (or scaled) skip connections in the last stage of an IResNet."
    reference: ClassVar[Reference] = Reference(
        title="On the Vulnerability of Skip Connections to Model Inversion Attacks", where="ECCV 2024", arxiv="2409.01696"
    )
    family: ClassVar[str] = "architecture"

    scale: float = Field(0.0, ge=0, lt=1, description="of the last stage's skip connections; 0: removed")

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        if not backbone.name.startswith("iresnet"):
            raise FaceVeilError(f"skip_removal changes IResNet backbones, not {backbone.name!r}: choose iresnet_slim.")
        return BackboneSpec(name=backbone.name, kwargs={**backbone.kwargs, "last_skip": self.scale})

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        return against_training()
