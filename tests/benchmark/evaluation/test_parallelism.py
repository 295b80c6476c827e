"""One entry by one process and by Ray nodes: the same record, a lost node included."""

from __future__ import annotations

import pytest
from tiny_world import FLOW, UNDEFENDED

from benchmark.evaluation.parallelism import Way, entry_record, figures, measure_ways, ready
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.variants import variant
from benchmark.runtime.executor import Engine
from benchmark.runtime.progress import Silent
from benchmark.runtime.ray_cluster import ray_nodes

TRACK = variant(FLOW, {"shadows": 0, "population": 2})


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The record of one process."""
    with pytest.MonkeyPatch.context() as patched:
        home = tmp_path_factory.mktemp("alone")
        patched.setenv("FACEVEIL_HOME", str(home))
        return entry_record(TRACK, UNDEFENDED, home, Engine(1), Silent())


def test_figures_change_with_any_number(alone):
    other = alone.model_copy(deep=True)
    assert figures(other) == figures(alone)
    object.__setattr__(other.utility["auc"], "value", 0.123)
    assert figures(other) != figures(alone)


@pytest.mark.slow
def test_ways_are_named_and_compared(monkeypatch, tmp_path):
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path))
    first, second = measure_ways(TRACK, UNDEFENDED, [Way(1), Way(2)], Silent())
    assert (first.way, second.way) == ("1 process", "2 processes")
    assert first.speedup == 1
    assert first.same
    assert second.same
    assert Way(nodes=2).label == "2 Ray nodes"
    assert not any(tmp_path.iterdir()), "each way has a home of its own"


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray.cluster_utils", None)
    with pytest.raises(FaceVeilError, match=r"faceveil\[cluster\]"), ray_nodes(2):
        pass


class Losing(Silent):
    """A reporter under which a node is lost as soon as a step is done and others run."""

    def __init__(self, cluster):
        self.cluster, self.lost = cluster, False

    def tasks(self, status):
        if status.done and status.running and not self.lost:
            self.lost = True
            self.cluster.remove_node(self.cluster.nodes[0], allow_graceful=False)


@pytest.mark.slow
def test_a_node_lost_in_an_evaluation_changes_no_number(alone, monkeypatch, tmp_path):
    pytest.importorskip("ray", reason="needs the extra [cluster]")
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path))
    with ray_nodes(2) as cluster, Engine(address=cluster.address) as engine:
        engine.run([ready, ready])
        losing = Losing(cluster)
        record = entry_record(TRACK, UNDEFENDED, tmp_path, engine, losing)
    assert losing.lost, "the node must be lost while the entry is under way"
    assert figures(record) == figures(alone)
