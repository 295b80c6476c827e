"""Steps run after what they need, the longest chains first, and the time left is that of playing the schedule through."""

from __future__ import annotations

import pytest

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.graph import Graph, Node, Schedule, makespan


def nothing() -> None:
    pass


def step(key: str, *needs: str, kind: str = "", cached: bool = False) -> Node:
    return Node(key, nothing, needs, kind or key, cached=cached)


def taken(graph: Graph, seconds: dict[str, float] | None = None) -> list[str]:
    """Keys in the order in which one process runs them."""
    schedule = Schedule(graph, lambda node: (seconds or {}).get(node.key, 1.0))
    found = []
    while (node := schedule.take()) is not None:
        found.append(node.key)
        schedule.finish(node.key)
    return found


def test_every_step_comes_after_those_it_needs():
    graph = Graph([step("record", "utility", "attack"), step("attack", "signals"), step("utility"), step("signals")])
    order = taken(graph)
    assert sorted(order) == ["attack", "record", "signals", "utility"]
    assert order.index("signals") < order.index("attack") < order.index("record")


def test_the_longest_chain_begins_first():
    graph = Graph([step("short"), step("long"), step("after short", "short")])
    assert taken(graph, {"short": 1, "long": 5, "after short": 1})[0] == "long"
    assert taken(graph, {"short": 1, "long": 5, "after short": 9})[0] == "short"


def test_what_is_cached_is_not_run_and_holds_nobody_up():
    assert taken(Graph([step("a", cached=True), step("b", "a", cached=True), step("c", "b")])) == ["c"]


def test_what_needs_a_failed_step_is_dropped_and_nothing_else():
    schedule = Schedule(Graph([step("a"), step("b", "a"), step("c", "b"), step("d")]))
    schedule.drop("a")
    assert schedule.skipped == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([step("a"), step("a", "b"), step("b")], "two different steps"),
        ([step("a", "b")], "needs 'b'"),
        ([step("a", "b"), step("b", "a")], "circle"),
    ],
)
def test_a_graph_that_cannot_run_is_refused(nodes, message):
    with pytest.raises(FaceVeilError, match=message):
        Graph(nodes)


def test_the_makespan_counts_workers_chains_and_what_runs_already():
    seconds = {"a": 4.0, "b": 4.0, "c": 2.0}
    graph = Graph([step("a"), step("b"), step("c", "a")])
    cost = lambda node: seconds[node.key]  # noqa: E731
    assert makespan(graph, cost, 1) == 10
    assert makespan(graph, cost, 2) == 6
    assert makespan(graph, cost, 2, running={"a": 3.0}) == 4  # a ends after 1, c after 3, b after 4
    assert makespan(graph, cost, 2, done={"a", "b"}) == 2
