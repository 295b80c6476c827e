"""Where long work reports what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class TrainingProgress:
    """One finished epoch.  ``accuracy`` is that of the head without margin on the batches as they were trained on."""

    epoch: int  # 1 for the first
    epochs: int
    loss: float
    accuracy: float
    seconds: float
    images_per_second: float
    processor_seconds: float = 0.0  # of this process: other work on the machine disturbs them less than ``seconds``


ProgressCallback = Callable[[TrainingProgress], None]


class Progress(Protocol):
    """What a long run is given to report to: a step as a line of text, and the epochs of a training."""

    def step(self, text: str) -> None: ...

    def training(self, report: TrainingProgress) -> None: ...


class Silent:
    """Reports nothing."""

    def step(self, text: str) -> None: ...

    def training(self, report: TrainingProgress) -> None: ...
