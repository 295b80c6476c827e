"""``faceveil bench queries``: memory of signals and attacks by the hundred thousand queries."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.output import Device, Json, emit, out, pick_device, steps, table


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("queries")(queries)


def queries(
    count: Annotated[int, typer.Option("--queries", min=200, help="Photos that the backbone is asked about.")] = 100_000,
    backbone: Annotated[str, typer.Option(help="See `faceveil list backbones`.")] = "iresnet_slim",
    size: Annotated[int, typer.Option(min=16, help="Height and width of the photos.")] = 32,
    attacks: Annotated[
        str, typer.Option(help="Comma-separated, such as need no shadow backbones.")
    ] = "bn_distance,regrown_head",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Asks an untrained backbone about photos of a RecordIO file and attacks it: seconds and memory, stage by stage."""
    from benchmark.evaluation.membership.bench import measure
    from benchmark.interfaces import AttackSpec
    from benchmark.runtime.memory import process_peak

    specs = [AttackSpec(name=name.strip()) for name in attacks.split(",")]
    with steps() as progress, tempfile.TemporaryDirectory(prefix="faceveil-bench-") as work:
        progress.step(f"writing {count} photos and asking about them")
        asked, stages = measure(Path(work), count, specs, backbone, size, str(pick_device(device)))
    peak = process_peak()
    document: dict[str, Any] = {
        "backbone": backbone, "size": size, "queries": asked, "peak_mb": peak, "stages": [asdict(stage) for stage in stages],
    }  # fmt: skip

    def show() -> None:
        rows = [[s.name, f"{s.seconds:.2f}", f"{s.grew_mb:.0f}"] for s in stages]
        table(f"{asked} queries of {backbone}, {size} px", ["stage", "seconds", "memory grew, MiB"], rows)
        out.print(f"the process held {peak:.0f} MiB at most, mapped files counted in")

    emit(document, json, show)
