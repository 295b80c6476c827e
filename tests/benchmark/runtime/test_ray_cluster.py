"""The same graphs on a Ray cluster of two one-core nodes on this machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.executor import Engine, Node
from benchmark.runtime.ray_cluster import ray_nodes

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Work:
    """Takes a while and leaves a file; one that is run again writes the same."""

    path: Path
    seconds: float = 1.0

    def __call__(self) -> int:
        time.sleep(self.seconds)
        with self.path.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return int(self.path.name)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without cores, and two nodes of one core each."""
    pytest.importorskip("ray", reason="needs the extra [cluster]")
    with ray_nodes(2) as found:
        yield found


def test_both_nodes_work_and_steps_wait_for_what_they_need(cluster, tmp_path):
    nodes = [Node(str(n), Work(tmp_path / str(n))) for n in range(4)]
    nodes.append(Node("last", Work(tmp_path / "9", 0), tuple(str(n) for n in range(4))))
    with Engine(address=cluster.address) as engine:
        engine.run([Work(tmp_path / str(n), 0) for n in (100, 101)])  # starts the workers
        started = time.monotonic()
        outcome = engine.run_graph(nodes)
        seconds = time.monotonic() - started
    assert outcome.values == {"0": 0, "1": 1, "2": 2, "3": 3, "last": 9}
    assert seconds < 3.9, "four steps of a second on two cores, one after the other"
    assert max(os.path.getmtime(tmp_path / str(n)) for n in range(4)) <= os.path.getmtime(tmp_path / "9")


def test_a_node_lost_in_the_middle_loses_nothing(cluster, tmp_path):
    lost = threading.Timer(2.5, lambda: cluster.remove_node(cluster.nodes[0], allow_graceful=False))
    with Engine(address=cluster.address) as engine:
        lost.start()
        outcome = engine.run_graph([Node(str(n), Work(tmp_path / str(n), 1.5)) for n in range(6)])
    lost.join()
    assert outcome.errors == {}
    assert outcome.values == {str(n): n for n in range(6)}


def test_an_error_is_raised_as_it_is(cluster):
    with Engine(address=cluster.address) as engine, pytest.raises(FaceVeilError, match="no such thing"):
        engine.run([fails])


def fails() -> None:
    raise FaceVeilError("no such thing")
