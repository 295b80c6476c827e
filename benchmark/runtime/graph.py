"""A graph of tasks: what there is to do, what each step needs, in which order to begin, and how long it will take."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmark.interfaces import FaceVeilError

Task = Callable[[], Any]


@dataclass(frozen=True)
class Node:
    """One step.

    Args:
        key: unique; made of everything that the step's result depends on, where that is stored.
        task: a picklable callable that leaves its result on disk under a name of its own, so that it can run anywhere that
            sees the folder, in any order, and again after an interruption.  It may return something small.
        needs: keys of the steps that must be done before.
        kind: steps of one kind take about equally long.
        label: what the user reads while it runs.
        cached: its result is there already.
        guess: seconds that it may take, for estimates where no step of its kind was ever measured.
    """

    key: str
    task: Task
    needs: tuple[str, ...] = ()
    kind: str = "task"
    label: str = ""
    cached: bool = False
    guess: float | None = None

    @property
    def name(self) -> str:
        return self.label or self.key


class Graph:
    """Steps by key, in the order in which they were given.

    Raises:
        FaceVeilError: a key that stands for two different steps, a need that no step meets, or a circle.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes: dict[str, Node] = {}
        for node in nodes:
            if self.nodes.setdefault(node.key, node) != node:
                raise FaceVeilError(f"two different steps are called {node.key!r}.")
        for node in self.nodes.values():
            for need in node.needs:
                if need not in self.nodes:
                    raise FaceVeilError(f"step {node.name!r} needs {need!r}, which no step makes.")
        self.order = self._sorted()

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def users(self) -> dict[str, list[str]]:
        """The steps that need each step."""
        found: dict[str, list[str]] = {key: [] for key in self.nodes}
        for node in self.nodes.values():
            for need in node.needs:
                found[need].append(node.key)
        return found

    def _sorted(self) -> list[str]:
        """Every key after those it needs."""
        waiting, users = {key: len(set(node.needs)) for key, node in self.nodes.items()}, self.users()
        ready = [key for key, count in waiting.items() if count == 0]
        order: list[str] = []
        for key in ready:
            order.append(key)
            for user in dict.fromkeys(users[key]):
                waiting[user] -= 1
                if waiting[user] == 0:
                    ready.append(user)
        if len(order) < len(self.nodes):
            circle = ", ".join(self.nodes[key].name for key, count in waiting.items() if count)
            raise FaceVeilError(f"these steps need each other in a circle: {circle}.")
        return order

    def urgency(self, seconds: Callable[[Node], float]) -> dict[str, float]:
        """Seconds from the start of each step to the end of the longest chain that hangs on it: begin with the largest."""
        users = self.users()
        found: dict[str, float] = {}
        for key in reversed(self.order):
            found[key] = seconds(self.nodes[key]) + max((found[user] for user in users[key]), default=0.0)
        return found


@dataclass
class Schedule:
    """Which steps are ready, as others finish: the most urgent first."""

    graph: Graph
    seconds: Callable[[Node], float] = lambda _node: 1.0
    done: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._users = self.graph.users()
        self._urgency = self.graph.urgency(self.seconds)
        self._place = {key: n for n, key in enumerate(self.graph.nodes)}
        self._waiting = {node.key: len(set(node.needs)) for node in self.graph}
        self._ready: list[tuple[float, int, str]] = []
        self.skipped: set[str] = set()
        for key in [key for key, count in self._waiting.items() if count == 0]:
            self._offer(key)

    def _offer(self, key: str) -> None:
        if self.graph.nodes[key].cached:
            self.finish(key)
        else:
            heapq.heappush(self._ready, (-self._urgency[key], self._place[key], key))

    def take(self) -> Node | None:
        """The next step to begin; None where none is ready."""
        return self.graph.nodes[heapq.heappop(self._ready)[2]] if self._ready else None

    def finish(self, key: str) -> None:
        """Makes ready what waited for this step alone."""
        self.done.add(key)
        for user in dict.fromkeys(self._users[key]):
            self._waiting[user] -= 1
            if self._waiting[user] == 0:
                self._offer(user)

    def drop(self, key: str) -> None:
        """A step failed: what needs it, directly or not, will not run."""
        self.skipped.add(key)
        for user in self._users[key]:
            if user not in self.skipped:
                self.drop(user)

    def left(self) -> list[Node]:
        """Steps not done, those that run now included."""
        return [node for node in self.graph if node.key not in self.done and node.key not in self.skipped]


def makespan(
    graph: Graph,
    seconds: Callable[[Node], float],
    workers: int,
    *,
    done: Iterable[str] = (),
    running: Mapping[str, float] | None = None,
) -> float:
    """Seconds until ``workers`` processes have run what is left of a graph, by playing the schedule through.

    Args:
        seconds: what a step is expected to take.
        done: keys of finished steps.
        running: seconds that each step under way has taken so far.
    """
    finished, running = set(done), dict(running or {})
    nodes = [node if node.key not in finished else _cached(node) for node in graph]
    schedule = Schedule(Graph(nodes), seconds)
    ends: list[tuple[float, str]] = []
    now = 0.0
    begun: Sequence[Node] = [graph.nodes[key] for key in running]
    for node in begun:
        heapq.heappush(ends, (max(0.0, seconds(node) - running[node.key]), node.key))
    while True:
        while len(ends) < max(1, workers) and (free := schedule.take()) is not None:
            if free.key not in running:
                heapq.heappush(ends, (now + seconds(free), free.key))
        if not ends:
            return now
        now, key = heapq.heappop(ends)
        schedule.finish(key)


def _cached(node: Node) -> Node:
    return replace(node, cached=True)
