"""Another normalisation than BatchNorm: no statistics of the training photos are kept."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from benchmark.interfaces import AttackSpec, BackboneSpec, Defense, Reference
from benchmark.norms import named


class NormSwap(Defense):
    """GroupNorm, LayerNorm, or no normalisation with standardised weights, trained from the start.

    The paper's attack reads running statistics, which these networks do not have.  Whoever knows that compares features with
    their means on public faces.
    """

    name: ClassVar[str] = "norm_swap"
    summary: ClassVar[str] = "GroupNorm, LayerNorm or no norm (weight standardisation) in place of BatchNorm."
    reference: ClassVar[Reference] = Reference(title="Group Normalization", where="ECCV 2018", arxiv="1803.08494")
    family: ClassVar[str] = "architecture"

    norm: Literal["group", "layer", "none"] = Field("group", description="what stands where BatchNorm stood")

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        return named(backbone, self.norm)

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Distances to the means of features on public faces: there are no statistics to read."""
        return tuple(
            AttackSpec(name="bn_distance", settings={"statistics": "feature_means", "statistic": statistic})
            for statistic in ("mean", "mean_var")
        )
