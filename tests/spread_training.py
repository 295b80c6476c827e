"""Small trainings that can be spread over processes: in a test, or under torchrun as ``spread_training.py OUT``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from photo_arrays import noise_photos
from torch import nn

from benchmark.interfaces import Defense
from benchmark.models.heads import build_head
from benchmark.protocol.track import HeadSpec, InputSpec, TrainingConfig
from benchmark.training.loop import Trainer
from benchmark.training.scale import joined
from defenses.distillation import Distillation
from defenses.selena import SELENA
from defenses.transfer_freeze import TransferFreeze

CONFIG = TrainingConfig(epochs=3, batch_size=16, lr=0.05, warmup_epochs=1, flip=True)

# What is trained: without BatchNorm, with it, and with it under defences that have loops of their own.
WAYS: dict[str, tuple[str, Defense | None]] = {
    "group": ("group", None),
    "batch": ("batch", None),
    "selena": ("batch", SELENA(models=2, left_out=1)),
    "distillation": ("batch", Distillation()),
    "transfer_freeze": ("batch", TransferFreeze(pretrain_epochs=2, frozen=0.5)),
}


def network(norm: str, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    layer = nn.BatchNorm2d(8) if norm == "batch" else nn.GroupNorm(2, 8)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), layer, nn.ReLU(), nn.Dropout(dropout), nn.Flatten(), nn.Linear(8 * 16, 16))


def trainer(norm: str = "group", *, dropout: float = 0.0, sample: float = 1.0, **settings: Any) -> Trainer:
    head = build_head(HeadSpec(name="cosface", margin=0.2, sample=sample), 16, 20, torch.Generator().manual_seed(1))
    config = settings.pop("config", CONFIG)
    photos = settings.pop("photos", None) or noise_photos(20, 4)
    return Trainer(network(norm, dropout), head, photos, config, InputSpec(size=(8, 8)), seed=3, **settings)


def outcome(way: str) -> dict[str, Any]:
    """The loss curve of one of ``WAYS``, and the sum of every tensor that it ends in."""
    norm, defense = WAYS[way]
    run = trainer(norm, defense=defense, public=noise_photos(20, 4, seed=5))
    run.defense.fit(run)
    sums = [float(t.detach().double().sum()) for t in run.backbone.state_dict().values()]
    return {"curve": [line.loss for line in run.history], "sums": sums}


def main() -> None:
    with joined("cpu") as (group, _):
        found = {way: group.gather(outcome(way)) for way in WAYS}
        if group.rank == 0:
            Path(sys.argv[1]).write_text(json.dumps({"size": group.size, **found}))


if __name__ == "__main__":
    main()
