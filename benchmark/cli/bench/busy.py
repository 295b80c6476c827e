"""``faceveil bench busy``: what other work on the machine costs a training."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from benchmark.cli.output import Json, emit, table


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("busy")(busy)


def busy(
    processes: Annotated[int, typer.Option("--busy", min=1, help="Busy processes beside it.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Training steps to time.")] = 20,
    size: Annotated[int, typer.Option(min=16, help="Height and width of the photos.")] = 48,
    batch: Annotated[int, typer.Option(min=2, help="Photos per step.")] = 64,
    json: Json = False,
) -> None:
    """Times the same small training alone and beside busy processes, with one thread and with one per core."""
    from benchmark.runtime.threads import cores
    from benchmark.training.bench import measure_busy

    timings = measure_busy(processes, steps, size, batch)
    rows = [
        [t.way, f"{t.seconds:.2f}", f"{t.processor_seconds:.2f}", f"{t.images_per_second:.0f}", f"{t.relative:.2f}",
         f"{t.cpu_relative:.2f}"]
        for t in timings
    ]  # fmt: skip
    title = f"iresnet_slim, {size} px: {steps} steps of {batch} photos on {cores()} cores"
    columns = ["training", "seconds", "processor seconds", "photos a second", "relative", "relative, processor"]
    document = {
        "backbone": "iresnet_slim", "size": size, "batch": batch, "steps": steps, "cores": cores(),
        "timings": [asdict(t) for t in timings],
    }  # fmt: skip
    emit(document, json, lambda: table(title, columns, rows))
