"""``faceveil bench dp``: what per-photo clipping costs in time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from benchmark.cli.output import Device, Json, emit, pick_device, table


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("dp")(dp)


def dp(
    backbone: Annotated[str, typer.Option(help="See `faceveil list backbones`.")] = "iresnet_slim",
    size: Annotated[int, typer.Option(min=16, help="Height and width of the photos.")] = 48,
    batch: Annotated[int, typer.Option(min=2, help="Photos per step.")] = 64,
    views: Annotated[int, typer.Option(min=1, help="Augmented views per photo (multiplicity).")] = 1,
    repetitions: Annotated[int, typer.Option(min=1, help="Rounds; each takes one step of every way.")] = 7,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Times a training step without privacy, with hooks that hold every photo's gradient, and with ghost clipping."""
    from defenses.private.bench import measure

    timings = measure(backbone, size, batch, views=views, repetitions=repetitions, device=pick_device(device))
    rows = [
        [t.way, f"{t.seconds:.4f}", f"{t.relative:.2f}", f"{t.cpu_relative:.2f}", str(t.peak_memory_mb or "–")] for t in timings
    ]
    title = f"{backbone}, {size} px, {batch} photos x {views}: one step, median of {repetitions} rounds"
    emit(
        {"backbone": backbone, "size": size, "batch": batch, "views": views, "timings": [asdict(t) for t in timings]},
        json,
        lambda: table(title, ["gradients", "seconds", "relative", "relative, processor", "GPU MiB"], rows),
    )
