"""Where long work reports what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from benchmark.runtime.executor import Status


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
    """What a long run is given to report to: a step as a line of text, the epochs of a training, and how far a graph is."""

    def step(self, text: str) -> None: ...

    def training(self, report: TrainingProgress) -> None: ...

    def tasks(self, status: Status) -> None: ...


class Silent:
    """Reports nothing."""

    def step(self, text: str) -> None: ...

    def training(self, report: TrainingProgress) -> None: ...

    def tasks(self, status: Status) -> None: ...


def duration(seconds: float) -> str:
    """``40 s``, ``3 min`` or ``2 h 5 min``: as exactly as an estimate deserves."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def task_line(done: int, total: int, running: Sequence[str], seconds_left: float | None) -> str:
    """One line on a graph of tasks: how many are done, what runs now, and how long the rest will take."""
    parts = [f"{done}/{total} done"]
    if running:
        more = f" and {len(running) - 3} more" if len(running) > 3 else ""
        parts.append(f"running: {', '.join(running[:3])}{more}")
    if seconds_left is not None and done < total:
        parts.append(f"about {duration(seconds_left)} left")
    return "; ".join(parts)
