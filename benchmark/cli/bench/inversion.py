"""``faceveil bench inversion``: images times iterations per second of a latent search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.output import Device, Json, emit, out, pick_device, steps, table


def inversion(
    submission: Annotated[Path, typer.Argument(help="Submission folder or zip to attack.")],
    track: Annotated[str, typer.Option(help="Whose generator is used; see `faceveil list tracks`.")] = "synthetic-64",
    generator: Annotated[Path | None, typer.Option(help="Another generator: .safetensors, .pkl or .pt.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Templates that are inverted.")] = 16,
    iterations: Annotated[int, typer.Option(min=1)] = 10,
    batch: Annotated[int, typer.Option(min=1, help="Templates optimised together.")] = 16,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Times a latent search written as plain loops, and what each improvement on that gains.

    Every row optimises the same latents towards the same templates; their final objectives should agree.
    """
    import torch

    from attacks.bench import measure
    from attacks.generators.opening import open_generator
    from benchmark.interfaces import Access
    from benchmark.protocol.tracks import get_track
    from benchmark.signals.target import Target
    from benchmark.submissions.submission import load_submission

    side, where = get_track(track).image_size, pick_device(device)
    with steps() as progress:
        made, name, _digest = open_generator(track, side, generator, where)
        target = Target(load_submission(submission), Access.WEIGHTS, where)
        rows = measure(made, target, side, images=images, iterations=iterations, batch=batch, step=progress.step)
    document: dict[str, Any] = {
        "generator": name, "images": images, "iterations": iterations, "device": where,
        "threads": torch.get_num_threads(), "seed": 0, "rows": rows,
    }  # fmt: skip

    def show() -> None:
        cells = []
        for row in rows:
            if row["rate"] is None:
                cells.append([row["name"], *["–"] * 4, row["note"]])
            else:
                gains = (f"{row[which]:.2f}x" if row[which] else "–" for which in ("step", "gain"))
                cells.append([row["name"], f"{row['rate']:.1f}", *gains, f"{row['objective']:.4f}", row["note"]])
        head = ["how", "images x iterations / s", "this step gave", "against plain", "final objective", ""]
        table("latent search", head, cells)
        out.print(f"{name}; {images} templates, {iterations} iterations; {where}, {torch.get_num_threads()} thread(s)")

    emit(document, json, show)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("inversion")(inversion)
