"""``faceveil bench workers``: what a second process, or a second node, gains."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from benchmark.cli.output import Json, emit, steps, table


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("workers")(workers)


def workers(
    track: Annotated[str, typer.Option(help="A synthetic track or a variant of one.")] = "synthetic-smoke",
    defense: Annotated[str, typer.Option(help="The entry's defence.")] = "undefended",
    processes: Annotated[int, typer.Option(min=2, help="Processes beside one.")] = 2,
    ray: Annotated[int, typer.Option(min=0, help="One-core Ray nodes on this machine to time as well, beside one node.")] = 0,
    json: Json = False,
) -> None:
    """Times one entry from nothing with one process and with several, and compares their records.

    Every way starts from an empty home, one after the other: a quiet machine is needed.

    Example: faceveil bench workers --ray 2
    """
    from benchmark.evaluation.parallelism import Way, measure_ways
    from benchmark.interfaces import DefenseSpec
    from benchmark.protocol.tracks import get_synthetic

    ways = [Way(1), Way(processes)]
    chosen, entry = get_synthetic(track), DefenseSpec(name=defense)
    with steps() as progress:
        timings = measure_ways(chosen, entry, ways, progress)
        if ray:
            timings += measure_ways(chosen, entry, [Way(nodes=1), Way(nodes=ray)], progress)
    rows = [[t.way, f"{t.seconds:.1f}", f"{t.speedup:.2f}", "yes" if t.same else "NO"] for t in timings]
    document = {"track": chosen.name, "defense": defense, "timings": [asdict(t) for t in timings]}
    columns = ["run by", "seconds", "times as fast as one", "same record"]
    emit(document, json, lambda: table(f"{defense} on {chosen.name}, from nothing", columns, rows))
