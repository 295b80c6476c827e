"""BatchNorm statistics of public faces in place of those of the training photos."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from benchmark.interfaces import AttackSpec, Defense, Reference, ReleaseContext
from benchmark.models.bn_statistics import reestimate
from defenses.shared.adaptive import PAIRS_ANEW
from defenses.shared.public_photos import public_photos


class BNRecalibration(Defense):
    """All running statistics are forgotten at release and estimated on public faces.

    What is shipped are statistics that never saw a member; the weights still fit their training photos.
    """

    name: ClassVar[str] = "bn_recalibration"
    title: ClassVar[str] = "BatchNorm recalibrated on public faces"
    summary: ClassVar[str] = "BatchNorm statistics estimated afresh on public faces at release."
    reference: ClassVar[Reference] = Reference(
        title="Revisiting Batch Normalization For Practical Domain Adaptation", where="2016", arxiv="1603.04779"
    )
    family: ClassVar[str] = "bn_statistics"
    post_hoc: ClassVar[bool] = True
    needs_public: ClassVar[bool] = True
    needs_batchnorm: ClassVar[bool] = True
    resets_statistics: ClassVar[bool] = True

    def release(self, backbone: nn.Module, context: ReleaseContext) -> nn.Module:
        return reestimate(backbone, public_photos(context), context.input, context.device)

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Statistics of known members bring back what was replaced; those of public faces are what is shipped."""
        return (
            AttackSpec(name="bn_distance", settings={"statistics": "partial"}),
            AttackSpec(name="bn_distance", settings={"statistics": "auxiliary"}),
            AttackSpec(name="regrown_head", settings={"statistics": "auxiliary"}),
            AttackSpec(name="regrown_head", settings={"statistics": "auxiliary", "knowledge": "query_pool"}),
            PAIRS_ANEW,
        )
