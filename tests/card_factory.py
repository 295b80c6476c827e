"""The card of a small submission; light to import."""

from __future__ import annotations

from typing import Any

from benchmark.interfaces import BackboneSpec, DefenseSpec
from benchmark.protocol.track import InputSpec
from benchmark.submissions.card import Card

BACKBONE = {"name": "mobilefacenet", "kwargs": {"width": 0.125, "embedding_size": 16, "input_size": [32, 32]}}


def make_card(**overrides: Any) -> Card:
    """A card that fits :func:`make_backbone`."""
    values: dict[str, Any] = {
        "name": "tiny",
        "team": "testers",
        "track": "synthetic-quick",
        "defenses": (DefenseSpec(name="undefended"),),
        "backbone": BackboneSpec(**BACKBONE),
        "norm": "batch",
        "embedding_size": 16,
        "input": InputSpec(size=(32, 32)),
    }
    return Card(**{**values, **overrides})
