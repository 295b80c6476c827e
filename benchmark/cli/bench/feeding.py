"""``faceveil bench feeding``: photos read, training steps, and both together."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.output import Device, Json, emit, facts, pick_device, steps


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("feeding")(feeding)


def feeding(
    backbone: Annotated[str, typer.Option(help="See `faceveil list backbones`.")] = "mobilefacenet",
    batch: Annotated[int, typer.Option(min=2, help="Photos per step.")] = 64,
    count: Annotated[int, typer.Option("--steps", min=1, help="Steps to time.")] = 20,
    loaders: Annotated[int, typer.Option(min=0, help="Processes that read ahead; 0: the training's own.")] = 1,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Reads photos from a RecordIO file, trains without reading, and does both at once; prints photos per second."""
    from benchmark.training.feeding import measure

    with steps() as progress, tempfile.TemporaryDirectory(prefix="faceveil-bench-") as work:
        progress.step(f"reading and training {count} batches of {batch}")
        found = measure(Path(work), backbone, batch, count, loaders, str(pick_device(device)))
    shown = {
        "reading alone": f"{found.reading:.0f} photos/s with {loaders} processes beside the training's",
        "training alone": f"{found.stepping:.0f} photos/s ({backbone}, batch {batch})",
        "both together": f"{found.together:.0f} photos/s, {found.share:.0%} of the slower of the two",
    }
    emit(asdict(found) | {"share_of_the_slower": found.share}, json, lambda: facts(shown))
