"""``faceveil bench records``: a RecordIO file of real size, opened and read."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.output import Json, emit, facts, steps


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("records")(records)


def records(
    count: Annotated[
        int, typer.Option("--records", min=1, help="Records in the file that is written; 3.7 KiB each.")
    ] = 100_000,
    folder: Annotated[Path | None, typer.Option(help="Where the file is written, and removed afterwards.")] = None,
    json: Json = False,
) -> None:
    """Opens a RecordIO file and reads it in random order: seconds, photos per second and core, memory."""
    from benchmark.data.bench import measure

    with steps() as progress, tempfile.TemporaryDirectory(prefix="faceveil-bench-", dir=folder) as work:
        progress.step(f"writing and reading {count} records")
        found = measure(Path(work), count)
    document = asdict(found) | {"share_of_raw_decode": found.share}
    shown = {
        "records": f"{found.records} ({found.megabytes} MiB)",
        "opened first, its index being made": f"{found.opened_first:.2f} s",
        "opened again": f"{found.opened_again:.2f} s",
        "decoding alone": f"{found.raw_decode:.0f} photos/s a core (Pillow {found.raw_decode_pillow:.0f})",
        "reading in random order": f"{found.shuffled:.0f} photos/s a core, {found.share:.0%} of decoding alone",
        "memory grew": f"{found.grew_opening:.0f} MiB by opening, {found.grew_reading:.0f} MiB by reading",
    }
    emit(document, json, lambda: facts(shown))
