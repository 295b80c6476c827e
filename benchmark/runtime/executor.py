"""The engine: runs independent tasks, or a graph of them, in this process, in several on this machine, or on a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.durations import Durations
from benchmark.runtime.graph import Graph, Node, Schedule, Task, makespan
from benchmark.runtime.home import cache_dir
from benchmark.runtime.pools import Finished, Pool, Processes, ThisProcess
from benchmark.runtime.progress import task_line
from benchmark.runtime.threads import cores, threads_per_process

__all__ = ["Engine", "Graph", "Node", "Outcome", "Status", "Task"]

Done = Callable[[int], None]  # called with the number of tasks finished so far
PULSE = 1.0  # seconds between two reports while nothing happens


@dataclass(frozen=True)
class Status:
    """How far a graph is.

    ``running`` are the labels of the steps under way, with what they say of themselves; ``finished`` is the step that has
    just been done, with its seconds, None for a report in between.
    """

    done: int
    total: int
    running: tuple[str, ...]
    seconds_left: float | None
    finished: Node | None = None
    seconds: float = 0.0
    processor_seconds: float = 0.0  # of the step that has just been done, in the process that ran it

    @property
    def line(self) -> str:
        """All of it in one line of text."""
        return task_line(self.done, self.total, self.running, self.seconds_left)


@dataclass(frozen=True)
class Outcome:
    """What came of a graph: values by key, and why steps failed; what needs a failed step is in neither."""

    values: dict[str, Any]
    errors: dict[str, BaseException]


@dataclass
class Engine:
    """``workers`` processes (1: this process), or the Ray cluster at ``address``.

    Worker processes are started when first needed and kept until :meth:`close`, or the end of this process.

    Args:
        durations: a file that remembers what steps took, for estimates.
        gpu: tasks use one.
    """

    workers: int = 1
    address: str | None = None
    durations: Path | None = None
    gpu: bool = False
    _pool: Pool | None = field(default=None, init=False, repr=False, compare=False)

    @staticmethod
    def fitting(device: Any, workers: int | None = None, address: str | None = None) -> Engine:
        """The engine that a command's options ask for: by default as many processes as leave no core idle, one on a GPU.

        What steps take is remembered in the home's cache.

        Args:
            device: a torch device, or its name.
        """
        if workers is not None and workers < 1:
            raise FaceVeilError(f"--workers must be 1 or more, not {workers}.")
        gpu = not str(device).startswith("cpu")
        default = 1 if gpu else max(1, cores() // threads_per_process())
        return Engine(workers or default, address, cache_dir() / "durations.json", gpu)

    def run(self, tasks: Sequence[Task], done: Done = lambda _count: None) -> None:
        """Runs every task; the first failure stops those not yet begun and is raised."""
        nodes = [Node(str(number), task) for number, task in enumerate(tasks)]
        self.run_graph(nodes, lambda status: done(status.done) if status.finished else None)

    def run_graph(
        self,
        graph: Graph | Iterable[Node],
        report: Callable[[Status], None] = lambda _status: None,
        *,
        keep_going: bool = False,
    ) -> Outcome:
        """Runs every step that is not cached, each as soon as what it needs is there, the longest chains first.

        Args:
            report: called after every step, and every second between.
            keep_going: a failure stops only what needs the failed step; without it the first one is raised.
        """
        graph = graph if isinstance(graph, Graph) else Graph(graph)
        return _Run(self, graph, report, keep_going).run()

    def estimate(self, graph: Graph) -> float:
        """Seconds that a graph will take, by what steps of its kinds took before."""
        return makespan(graph, self.expected(), self.workers)

    def expected(self) -> Callable[[Node], float]:
        """Seconds that a step will take, by what those of its kind took here before."""
        known = Durations(self.durations)
        return lambda node: known.expected(node.kind, node.guess)

    def pool(self, tasks: int) -> Pool:
        """Where ``tasks`` tasks run."""
        if self.address is None and (self.workers == 1 or (tasks <= 1 and self._pool is None)):
            return ThisProcess()
        if self._pool is None:
            self._pool = self._opened()
        return self._pool

    def _opened(self) -> Pool:
        if self.address is None:
            return Processes(self.workers)
        from benchmark.runtime.ray_cluster import RayCluster

        return RayCluster(self.address, self.gpu)

    def close(self) -> None:
        """Ends the workers; the engine can be used again."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class _Run:
    """One run of one graph."""

    def __init__(
        self,
        engine: Engine,
        graph: Graph,
        report: Callable[[Status], None],
        keep_going: bool,
    ) -> None:
        self.engine, self.graph, self.report = engine, graph, report
        self.keep_going = keep_going
        self.durations = Durations(engine.durations)
        self.schedule = Schedule(graph, self._seconds)
        self.running: dict[int, tuple[Node, float]] = {}
        self.outcome = Outcome({}, {})
        self.begun = 0

    def _seconds(self, node: Node) -> float:
        return self.durations.expected(node.kind, node.guess)

    def run(self) -> Outcome:
        """See :meth:`Engine.run_graph`."""
        todo = len(self.schedule.left())
        self.pool = self.engine.pool(todo)
        try:
            while True:
                while len(self.running) < self.pool.slots and (node := self.schedule.take()) is not None:
                    self.running[self.begun] = (node, time.monotonic())
                    self.pool.start(self.begun, node.task)
                    self.begun += 1
                if not self.running:
                    return self.outcome
                found = self.pool.wait(PULSE)
                for finished in found:
                    self._take(finished)
                if not found:
                    self.report(self._status())
        except BaseException:
            self.engine.close()  # what runs is broken off: trainings resume at their last epoch
            raise
        finally:
            self.durations.save()

    def _take(self, finished: Finished) -> None:
        node, _ = self.running.pop(finished.number)
        if finished.error is not None:
            if not self.keep_going:
                raise finished.error
            self.outcome.errors[node.key] = finished.error
            self.schedule.drop(node.key)
            return
        self.outcome.values[node.key] = finished.value
        self.durations.add(node.kind, finished.seconds, node.guess)
        self.schedule.finish(node.key)
        self.report(self._status(node, finished.seconds, finished.processor_seconds))

    def _status(self, finished: Node | None = None, seconds: float = 0.0, processor: float = 0.0) -> Status:
        notes = {number: f" ({text})" for number, text in self.pool.notes.items()}
        running = tuple(node.name + notes.get(number, "") for number, (node, _) in self.running.items())
        total = len(self.graph) - len(self.schedule.skipped)
        return Status(len(self.schedule.done), total, running, self._seconds_left(), finished, seconds, processor)

    def _seconds_left(self) -> float | None:
        """By what steps of the same kinds took, or a guess; None while nothing is known of a kind that is left."""
        left = self.schedule.left()
        if any(self.durations.known(node.kind) is None and node.guess is None for node in left):
            return None
        now = time.monotonic()
        since = {node.key: now - start for node, start in self.running.values()}
        return makespan(
            self.graph, self._seconds, self.pool.slots, done=self.schedule.done | self.schedule.skipped, running=since
        )
