"""What more processes, or the nodes of a Ray cluster, gain on one entry from nothing, and whether its record is the same."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.evaluation.session import Session
from benchmark.interfaces import DefenseSpec, content_hash
from benchmark.protocol.track import Track
from benchmark.runtime.executor import Engine
from benchmark.runtime.home import empty_home
from benchmark.runtime.progress import Progress
from benchmark.runtime.ray_cluster import ray_nodes
from benchmark.submissions.submission import load_submission

if TYPE_CHECKING:
    from benchmark.records.record import Record


@dataclass(frozen=True)
class Way:
    """One way to run the same work: processes on this machine, or one-core nodes of a Ray cluster of its own."""

    workers: int = 1
    nodes: int = 0

    @property
    def label(self) -> str:
        """As tables name it."""
        count, what = (self.nodes, "Ray node") if self.nodes else (self.workers, "process")
        plural = "" if count == 1 else "es" if what == "process" else "s"
        return f"{count} {what}{plural}"


@dataclass(frozen=True)
class Timing:
    """``speedup``: seconds of the first way over those of this one; ``same``: whether the record holds the same numbers."""

    way: str
    seconds: float
    speedup: float
    same: bool


def figures(record: Record) -> str:
    """A digest of everything that was measured: utility, every attack's metrics and scores, gate and headline."""
    found: dict[str, Any] = record.model_dump(mode="json", include={"utility", "headline", "gate"})
    found["attacks"] = [
        (attack.spec.label, attack.status, {c: r.model_dump(mode="json") for c, r in attack.contrasts.items()})
        for attack in record.membership
    ]
    return content_hash(found)


def measure_ways(track: Track, defense: DefenseSpec, ways: Sequence[Way], progress: Progress) -> list[Timing]:
    """Trains and evaluates one entry in each way, from an empty home each, one way after the other."""
    found: list[Timing] = []
    first = ""
    for way in ways:
        progress.step(f"with {way.label}")
        with empty_home() as home, engine_of(way) as engine:
            engine.run([ready] * max(way.workers, way.nodes))  # processes that are there, as in the middle of a long run
            started = time.perf_counter()
            record = entry_record(track, defense, home, engine, progress)
            seconds = time.perf_counter() - started
        digest = figures(record)
        first = first or digest
        found.append(
            Timing(way.label, round(seconds, 2), round((found[0].seconds if found else seconds) / seconds, 3), digest == first)
        )
    return found


def entry_record(track: Track, defense: DefenseSpec, home: Path, engine: Engine, progress: Progress) -> Record:
    """One entry, trained with its population and evaluated."""
    session = Session(track, None, "cpu", progress=progress, engine=engine)
    session.prepare_all([defense])
    session.train(defense, 0, home / "entry")
    return session.evaluate(load_submission(home / "entry"))


@contextmanager
def engine_of(way: Way) -> Iterator[Engine]:
    """The engine of a way; of Ray nodes, on a cluster that ends with it.

    Raises:
        FaceVeilError: Ray nodes are asked for where Ray is not installed.
    """
    if not way.nodes:
        with Engine(way.workers) as engine:
            yield engine
        return
    with ray_nodes(way.nodes) as cluster, Engine(address=cluster.address) as engine:
        yield engine


def ready() -> None:
    """A task that starts a worker, with what every task imports."""
    from benchmark.training import build  # noqa: F401
