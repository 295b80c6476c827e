"""``faceveil bench evaluate``: what each stage of one entry costs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from benchmark.cli.output import Json, emit, out, steps, table


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    track: Annotated[str, typer.Option(help="A synthetic track or a variant of one.")] = "synthetic-smoke",
    defense: Annotated[str, typer.Option(help="The entry's defence.")] = "undefended",
    json: Json = False,
) -> None:
    """Trains and evaluates one entry from nothing, on one core, and prints the cost of each stage.

    Example: faceveil bench evaluate --track 'synthetic-quick[population=3]'
    """
    from benchmark.evaluation.bench import measure_entry
    from benchmark.interfaces import DefenseSpec
    from benchmark.protocol.tracks import get_synthetic
    from benchmark.runtime.home import empty_home

    chosen = get_synthetic(track)
    with steps() as progress, empty_home() as home:  # nothing of what is cached in the user's own
        found, plain = measure_entry(chosen, DefenseSpec(name=defense), home, progress)
    document = {
        "track": chosen.name,
        "defense": defense,
        "plain_training": round(plain, 2),
        "stages": [asdict(s) for s in found],
    }

    def show() -> None:
        rows = [[s.name, str(s.steps), f"{s.processor_seconds:.1f}", f"{s.trainings:.2f}"] for s in found]
        total = sum(s.processor_seconds for s in found)
        rows.append(["all", str(sum(s.steps for s in found)), f"{total:.1f}", f"{total / plain:.2f}"])
        table(f"{defense} on {chosen.name}", ["stage", "steps", "processor seconds", "trainings"], rows)
        out.print(f"one plain training of a backbone: {plain:.1f} processor seconds; {chosen.population} backbones an entry")

    emit(document, json, show)
