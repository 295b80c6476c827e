"""Embeddings of few bits."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from benchmark.interfaces import AttackSpec, Defense, Reference


class EmbeddingQuantisation(Defense):
    """8-bit integers, signs, or the largest dimensions alone, as the card's inference transform.

    It protects templates, not weights: whoever holds the weights takes the embeddings before the transform.
    """

    name: ClassVar[str] = "embedding_quantisation"
    title: ClassVar[str] = "embedding quantisation"
    summary: ClassVar[str] = "Embeddings returned as 8-bit integers, as signs, or with their largest dimensions alone."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    family: ClassVar[str] = "embedding"
    post_hoc: ClassVar[bool] = True

    kind: Literal["int8", "sign", "top_k"] = "sign"
    k: PositiveInt = Field(32, le=8192, description="dimensions kept; top_k alone")

    def inference(self) -> dict[str, Any]:
        return {"kind": "top_k", "k": self.k} if self.kind == "top_k" else {"kind": self.kind}

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """With the weights in hand the transform is left out."""
        return (
            AttackSpec(name="regrown_head", settings={"raw": True}),
            AttackSpec(name="regrown_head", settings={"raw": True, "knowledge": "query_pool"}),
            AttackSpec(name="pair_stack", settings={"raw": True}),
            AttackSpec(name="bn_distance", settings={"statistics": "auxiliary"}),
        )
