"""How fast photos reach a training: the reader alone, the step alone, and both together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data.bench import drawn
from benchmark.data.pack import write_records
from benchmark.data.readers.open import open_faces
from benchmark.models.backbones import create
from benchmark.models.heads import build_head
from benchmark.protocol.track import HeadSpec, TrainingConfig
from benchmark.runtime.seeding import seeded
from benchmark.training.loop import build_optimizer
from benchmark.training.scale import PhotoLoader

SIZE = 112
PEOPLE = 1000  # classes of the head
WARM_UP = 2  # batches that are not timed: processes start, and memory is taken


@dataclass(frozen=True)
class FeedingTimings:
    """Photos a second of the clock.

    Args:
        reading: photos read in random order and decoded, nothing else.
        stepping: training steps on one batch that is there already.
        together: training as it is, the next batches being read meanwhile.
    """

    backbone: str
    batch: int
    loaders: int
    reading: float
    stepping: float
    together: float

    @property
    def share(self) -> float:
        """Of the slower of the two alone that both together reach."""
        return self.together / min(self.reading, self.stepping)


def measure(
    folder: Path, backbone: str, batch: int, steps: int, loaders: int, device: str = "cpu", records: int = 5_000
) -> FeedingTimings:
    """Writes a RecordIO file below ``folder`` and trains ``backbone`` (112 px) from it for ``steps`` batches, in three ways."""
    write_records(folder / "set", drawn(records, SIZE), size=(SIZE, SIZE))
    photos = open_faces(folder / "set" / "train.rec", SIZE, cache=folder / "cache")
    rng = np.random.default_rng(0)
    order = [rng.permutation(len(photos))[:batch] for _ in range(WARM_UP + steps)]
    step = _step(backbone, batch, device)
    first = photos.load(order[0])
    loader = PhotoLoader(photos, loaders)
    rates = []
    for use, from_file in ((_nothing, True), (step, False), (step, True)):
        batches = loader.batches(order) if from_file else (first for _ in order)
        started = 0.0
        for number, images in enumerate(batches):
            if number == WARM_UP:
                started = _now(device)
            use(images)
        rates.append(batch * steps / (_now(device) - started))
    return FeedingTimings(backbone, batch, loaders, *rates)


def _nothing(images: Tensor) -> None:
    pass


def _step(name: str, batch: int, device: str) -> Callable[[Tensor], None]:
    with seeded(0):
        backbone = create(name, {"input_size": [SIZE, SIZE]}).to(device).to(memory_format=torch.channels_last)
        with torch.no_grad():
            width = backbone.eval()(torch.zeros(1, 3, SIZE, SIZE, device=device)).shape[1]
        head = build_head(HeadSpec(), width, PEOPLE, torch.Generator().manual_seed(0)).to(device)
        labels = torch.randint(0, PEOPLE, (batch,)).to(device)
    backbone.train()
    optimizer = build_optimizer(TrainingConfig(), backbone, head)

    def step(images: Tensor) -> None:
        x = images.to(device).float().sub(127.5).div(127.5).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(head(backbone(x), labels), labels).backward()
        optimizer.step()

    return step


def _now(device: str) -> float:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
