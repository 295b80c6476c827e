"""How fast photos reach a training: the reader alone, the step alone, and both together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.bench import drawn
from benchmark.data.pack import write_records
from benchmark.data.readers.open import open_faces
from benchmark.models.inputs import to_input
from benchmark.protocol.track import InputSpec
from benchmark.runtime.gpu import wait_for
from benchmark.training.bench import plain_step
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
    take_step, size = plain_step(backbone, SIZE, PEOPLE, batch, device), InputSpec(size=(SIZE, SIZE))

    def step(images: Tensor) -> None:
        take_step(to_input(images.to(device), size).contiguous(memory_format=torch.channels_last))

    write_records(folder / "set", drawn(records, SIZE), size=(SIZE, SIZE))
    photos = open_faces(folder / "set" / "train.rec", SIZE, cache=folder / "cache")
    rng = np.random.default_rng(0)
    order = [rng.permutation(len(photos))[:batch] for _ in range(WARM_UP + steps)]
    first = photos.load(order[0])
    loader = PhotoLoader(photos, loaders)
    rates = []
    for use, from_file in ((_nothing, True), (step, False), (step, True)):
        batches = loader.batches(order) if from_file else (first for _ in order)
        started = 0.0
        for number, images in enumerate(batches):
            if number == WARM_UP:
                wait_for(device)
                started = time.perf_counter()
            use(images)
        wait_for(device)
        rates.append(batch * steps / (time.perf_counter() - started))
    return FeedingTimings(backbone, batch, loaders, *rates)


def _nothing(images: Tensor) -> None:
    pass
