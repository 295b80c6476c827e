"""A small submission for tests, and the means to spoil it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import backbones
from benchmark.card import Card
from benchmark.interfaces import DefenseSpec
from benchmark.protocol import BackboneSpec, InputSpec
from benchmark.submission import Submission, pack

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


def make_backbone(seed: int = 0) -> nn.Module:
    """A MobileFaceNet of 40 thousand parameters whose BatchNorm layers have seen a batch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = backbones.create(BACKBONE["name"], BACKBONE["kwargs"])
        backbone.train()(torch.rand(16, 3, 32, 32))
    return backbone.eval()


def make_submission(folder: Path, seed: int = 0, head: Mapping[str, Tensor] | None = None, **card: Any) -> Submission:
    """Packs a small submission into ``folder``."""
    return pack(folder, make_card(**card), make_backbone(seed), head)


def edit_card(folder: Path, **changes: Any) -> None:
    """Overwrites fields of a packed card, without any check."""
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
