"""Noise on every embedding that the deployed system returns."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from benchmark.interfaces import AttackSpec, Defense, Reference

QUERIES = 16  # of one photo: its noise is divided by 4


class EmbeddingNoise(Defense):
    """Gaussian noise on the unit-length embedding, fresh at every query, as the card's inference transform.

    It protects templates, not weights: whoever holds the weights never meets the noise, and whoever may ask often
    averages it away.
    """

    name: ClassVar[str] = "embedding_noise"
    title: ClassVar[str] = "embedding noise"
    summary: ClassVar[str] = "Fresh Gaussian noise on every embedding that is returned."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    family: ClassVar[str] = "embedding"
    post_hoc: ClassVar[bool] = True

    sigma: float = Field(0.3, gt=0, le=10, description="expected length of the noise; the embedding has length 1")

    def inference(self) -> dict[str, Any]:
        return {"kind": "noise", "sigma": self.sigma}

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """With the weights in hand the noise is left out; without them it is averaged over many queries."""
        return (
            AttackSpec(name="regrown_head", settings={"raw": True}),
            AttackSpec(name="regrown_head", settings={"raw": True, "knowledge": "query_pool"}),
            AttackSpec(name="regrown_head", settings={"queries": QUERIES}),
            AttackSpec(name="pair_stack", settings={"raw": True}),
            AttackSpec(name="bn_distance", settings={"statistics": "auxiliary"}),
        )
