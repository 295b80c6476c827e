"""The steps of one evaluation as nodes of a graph: checks, signals, blind probes, attacks.

Before the backbones of an entry are trained nothing is known of what they will be called; the same steps then stand in the
graph without their tasks, for estimates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.evaluation.eligibility import flags
from benchmark.evaluation.membership.scene import Scene, opened
from benchmark.evaluation.membership.tasks import JudgeGate, ProbeBlind, ReadModels, ReadShadows, RunAttack
from benchmark.interfaces import AttackSpec
from benchmark.protocol.track import Track
from benchmark.runtime.graph import Node, Task
from benchmark.runtime.step_cache import Pieces

# Shares of a backbone's plain training that a step takes, about: for estimates where none was measured yet.
READING, PROBING, ATTACKING = 0.1, 0.15, 0.015  # a model, a blind backbone, an attack on one target


def nothing() -> None:
    """In place of a task whose inputs are not known yet."""


@dataclass(frozen=True)
class CheckEntry:
    """Red flags of the backbone that stands for an entry."""

    scene: Scene
    number: int

    @property
    def name(self) -> str:
        return f"flags-{self.scene.track.name}"

    @property
    def cached(self) -> bool:
        return Pieces(self.scene.work).has(self.name)

    def __call__(self) -> None:
        here = opened(self.scene)

        def found() -> list[dict[str, object]]:
            return [f.model_dump(mode="json") for f in flags(here.submission(self.number), here.populations)]

        Pieces(self.scene.work).get(self.name, found)


@dataclass(frozen=True)
class Steps:
    """The tasks of one evaluation."""

    check: CheckEntry
    reads: tuple[ReadModels, ...]
    shadows: ReadShadows | None
    probes: tuple[ProbeBlind, ...]
    gate: JudgeGate
    attacks: tuple[RunAttack, ...]


@dataclass(frozen=True)
class Step:
    """What a node does, and whether that is done already."""

    task: Task
    cached: bool = False


@dataclass(frozen=True)
class Outline:
    """The nodes of one evaluation.

    Args:
        entry: tells its steps from those of other entries in the same graph.
        label: begins what is shown of each step, where there are several entries.
        after: keys of the steps that train its backbones.
    """

    track: Track
    entry: str
    label: str = ""
    after: tuple[str, ...] = ()

    def nodes(self, steps: Steps) -> list[Node]:
        """With their tasks; what is finished is cached."""
        gate, shadows = Step(steps.gate, steps.gate.cached), steps.shadows
        return list(
            self._nodes(
                Step(steps.check, steps.check.cached),
                [(task.numbers, Step(task, task.cached)) for task in steps.reads],
                None if shadows is None else Step(shadows, shadows.cached),
                [(task.which, Step(task, task.cached)) for task in steps.probes],
                gate,
                [(task.spec, Step(task, gate.cached and task.finished()), len(task.scene.targets)) for task in steps.attacks],
            )
        )

    def expected(self, attacks: Sequence[AttackSpec], *, workers: int, shadows: bool, probes: Sequence[str]) -> list[Node]:
        """Without tasks: what will be done once the backbones are there."""
        unknown = Step(nothing)
        return list(
            self._nodes(
                unknown,
                [(numbers, unknown) for numbers in grouped(range(self.track.population), workers)],
                unknown if shadows else None,
                [(which, unknown) for which in probes],
                unknown,
                [(spec, unknown, self.track.population) for spec in attacks],
            )
        )

    def _nodes(
        self,
        check: Step,
        reads: Sequence[tuple[Sequence[int], Step]],
        shadows: Step | None,
        probes: Sequence[tuple[str, Step]],
        gate: Step,
        attacks: Sequence[tuple[AttackSpec, Step, int]],
    ) -> Iterable[Node]:
        yield self._node("checks", check, self.after, PROBING)
        read = []
        for numbers, step in reads:
            what = f"backbones {', '.join(map(str, numbers))} read" if len(numbers) > 1 else f"backbone {numbers[0]} read"
            node = self._node(what, step, self.after, READING * len(numbers), kind=f"read {len(numbers)}")
            read.append(node.key)
            yield node
        probed = []
        for which, step in probes:
            node = self._node(f"blind gate, {which}", step, self.after, PROBING)
            probed.append(node.key)
            yield node
        verdict = self._node("blind gate judged", gate, tuple(probed), 0.0)
        yield verdict
        if shadows is not None:
            node = self._node("auxiliary shadows read", shadows, tuple(read[:1]), READING)
            read.append(node.key)
            yield node
        for spec, step, targets in attacks:
            yield self._node(f"attack {spec.label}", step, (*read, verdict.key), ATTACKING * targets)

    def _node(self, what: str, step: Step, needs: tuple[str, ...], share: float, kind: str = "") -> Node:
        plain = 120 * self.track.budget.cpu_minutes  # seconds of a core: the budget is that of two
        label = f"{self.label}: {what}" if self.label else what
        kind = f"{self.track.name} {kind or what}"
        return Node(f"{self.entry} {what}", step.task, needs, kind, label, guess=plain * share, cached=step.cached)


def grouped(numbers: Iterable[int], workers: int) -> list[tuple[int, ...]]:
    """Backbones that are read together: a group for each worker, of the same size where they can be."""
    given = list(numbers)
    count = max(1, min(workers, len(given)))
    return [tuple(given[start::count]) for start in range(count)]
