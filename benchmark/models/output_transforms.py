"""The closed set of transforms of an embedding at inference time that a card may name.

They are what the deployed system adds to the embedding; an attacker who holds the weights bypasses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, TypeAdapter, ValidationError
from torch import Tensor

from benchmark.interfaces import FaceVeilError


class _Transform(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def apply(self, embeddings: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Embeddings (B, D) in, embeddings (B, D) out; ``generator`` serves transforms that draw noise."""
        raise NotImplementedError


class Noise(_Transform):
    """Gaussian noise on the unit-length embedding, fresh at every query; its expected length is ``sigma``."""

    kind: Literal["noise"] = "noise"
    sigma: PositiveFloat

    def apply(self, embeddings: Tensor, generator: torch.Generator | None = None) -> Tensor:
        unit = torch.nn.functional.normalize(embeddings)
        noise = torch.randn(unit.shape, generator=generator, device=unit.device, dtype=unit.dtype)
        out: Tensor = unit + noise * (self.sigma / unit.shape[1] ** 0.5)
        return out


class Int8(_Transform):
    """Symmetric 8-bit quantisation: each embedding's largest magnitude becomes 127."""

    kind: Literal["int8"] = "int8"

    def apply(self, embeddings: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        scale = embeddings.abs().amax(1, keepdim=True).clamp_min(torch.finfo(embeddings.dtype).tiny) / 127
        return (embeddings / scale).round() * scale


class Sign(_Transform):
    """One bit a dimension: -1 or +1 (0 counts as +1)."""

    kind: Literal["sign"] = "sign"

    def apply(self, embeddings: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        return torch.where(embeddings < 0, -1.0, 1.0).to(embeddings.dtype)


class TopK(_Transform):
    """The ``k`` dimensions of largest magnitude, the others 0."""

    kind: Literal["top_k"] = "top_k"
    k: PositiveInt

    def apply(self, embeddings: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        kept = embeddings.abs().topk(min(self.k, embeddings.shape[1]), dim=1).indices
        return torch.zeros_like(embeddings).scatter(1, kept, embeddings.gather(1, kept))


_Single = Annotated[Noise | Int8 | Sign | TopK, Field(discriminator="kind")]


class Chain(_Transform):
    """Several transforms, one after the other."""

    kind: Literal["chain"] = "chain"
    steps: Annotated[tuple[_Single, ...], Field(min_length=2, max_length=4)]

    def apply(self, embeddings: Tensor, generator: torch.Generator | None = None) -> Tensor:
        for step in self.steps:
            embeddings = step.apply(embeddings, generator)
        return embeddings


Transform = Annotated[Noise | Int8 | Sign | TopK | Chain, Field(discriminator="kind")]
KINDS = ("noise", "int8", "sign", "top_k", "chain")
_ADAPTER: TypeAdapter[Transform] = TypeAdapter(Transform)


def parse(spec: Mapping[str, Any] | None) -> Transform | None:
    """The transform of a card's ``inference`` entry such as ``{"kind": "noise", "sigma": 0.3}``; None for none.

    Raises:
        FaceVeilError: an unknown kind, or settings it does not take.
    """
    if spec is None:
        return None
    try:
        return _ADAPTER.validate_python(dict(spec))
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'kind'}: {e['msg']}" for e in error.errors())
        raise FaceVeilError(f"inference transform {dict(spec)}: {reasons}. Allowed kinds: {', '.join(KINDS)}.") from None
