"""What each stage of one entry costs, in processor seconds and in plain trainings of one backbone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.evaluation.session import Session
from benchmark.interfaces import DefenseSpec
from benchmark.protocol.track import Track
from benchmark.runtime.executor import Engine, Status
from benchmark.runtime.progress import Progress, TrainingProgress
from benchmark.submissions.submission import load_submission

BEGINNINGS = {
    "photos drawn": "photos drawn",
    "checks": "checks",
    "backbone": "signals and utility",
    "auxiliary": "signals of shadows",
    "blind gate": "blind gate",
    "record": "record",
}


@dataclass(frozen=True)
class Step:
    """One finished step of a graph."""

    name: str
    processor_seconds: float


@dataclass(frozen=True)
class Stage:
    """``trainings``: its processor seconds over those of one plain training of a backbone."""

    name: str
    steps: int
    processor_seconds: float
    trainings: float


class Timed:
    """A reporter that notes what every step took."""

    def __init__(self, inner: Progress) -> None:
        self.inner, self.steps = inner, list[Step]()

    def step(self, text: str) -> None:
        self.inner.step(text)

    def training(self, report: TrainingProgress) -> None:
        self.inner.training(report)

    def tasks(self, status: Status) -> None:
        if status.finished is not None:
            self.steps.append(Step(status.finished.name, status.processor_seconds))
        self.inner.tasks(status)


def stage_of(step: str) -> str:
    """The stage that a step belongs to; an attack is one of its own."""
    if step.startswith("attack "):
        return step
    return next((stage for beginning, stage in BEGINNINGS.items() if step.startswith(beginning)), "training")


def stages(steps: Sequence[Step], plain: float) -> list[Stage]:
    """What the steps of each stage took together, in the order in which stages began.

    Args:
        plain: processor seconds of one plain training of a backbone.
    """
    found: dict[str, list[float]] = {}
    for step in steps:
        found.setdefault(stage_of(step.name), []).append(step.processor_seconds)
    return [Stage(name, len(own), round(sum(own), 2), round(sum(own) / plain, 3)) for name, own in found.items()]


def measure_entry(track: Track, defense: DefenseSpec, folder: Path, progress: Progress) -> tuple[list[Stage], float]:
    """Trains and evaluates one entry in this process, with nothing cached, and says what each stage took.

    Args:
        folder: where the submission is written; the home must be empty, and may be that folder.

    Returns:
        The stages, and the processor seconds of one plain training.
    """
    timed = Timed(progress)
    session = Session(track, None, "cpu", progress=timed, engine=Engine(1))
    session.prepare_all([DefenseSpec(name="undefended"), defense])
    trained = session.train(defense, 0, folder / "entry")
    session.evaluate_all([load_submission(trained.path or folder / "entry")])
    begun = time.process_time()
    session.plan(trained).record()
    timed.steps.append(Step("record", time.process_time() - begun))
    own = [step.processor_seconds for step in timed.steps if step.name.startswith("undefended, backbone")]
    plain = sum(own) / len(own)
    return stages(timed.steps, plain), plain
