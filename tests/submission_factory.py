"""A small submission for tests, and the means to spoil it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from card_factory import BACKBONE as BACKBONE
from card_factory import make_card as make_card
from torch import Tensor, nn

from benchmark.models import backbones
from benchmark.submissions.submission import Submission, pack


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
