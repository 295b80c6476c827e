"""What a long command would do: the steps of its graph, which of them are done, and how long the rest will take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmark.cli.output import out, table
from benchmark.runtime.progress import duration

if TYPE_CHECKING:
    from benchmark.runtime.executor import Engine
    from benchmark.runtime.graph import Graph

SHOWN = 80  # steps, at most, that are shown one by one


def outlook(graph: Graph, engine: Engine) -> dict[str, Any]:
    """The graph as plain data.

    Returns:
        ``steps`` (name, kind, names of those that must be done before, whether it is cached, expected seconds), their numbers,
        and the ``seconds`` that what is left will take ``workers`` processes.
    """
    expected = engine.expected()
    steps = [
        {
            "step": node.name,
            "kind": node.kind,
            "needs": [graph.nodes[key].name for key in node.needs],
            "cached": node.cached,
            "seconds": 0.0 if node.cached else round(expected(node), 1),
        }
        for node in graph
    ]
    return {
        "steps": steps,
        "cached": sum(step["cached"] for step in steps),
        "to_do": sum(not step["cached"] for step in steps),
        "workers": engine.workers,
        "seconds": round(engine.estimate(graph), 1),
    }


def show(document: dict[str, Any]) -> None:
    """The steps as a table: one by one, or by their kinds where they are many."""
    steps = document["steps"]
    if len(steps) > SHOWN:
        kinds: dict[str, list[dict[str, Any]]] = {}
        for step in steps:
            kinds.setdefault(step["kind"], []).append(step)
        rows = [[kind, str(len(found)), str(sum(s["cached"] for s in found)), _seconds(found)] for kind, found in kinds.items()]
        table("steps", ["kind", "steps", "done", "time"], rows)
    else:
        rows = [[s["step"], str(len(s["needs"])), "done" if s["cached"] else "to do", _seconds([s])] for s in steps]
        table("steps", ["step", "waits for", "state", "time"], rows)
    left = duration(document["seconds"]) if document["to_do"] else "nothing"
    out.print(
        f"{document['cached']} of {len(steps)} steps are done; about {left} left for {document['workers']} "
        f"process{'es' * (document['workers'] > 1)}, by what such steps took here before or by the track's budget"
    )


def _seconds(steps: list[dict[str, Any]]) -> str:
    total = sum(step["seconds"] for step in steps)
    return duration(total) if total else ""
