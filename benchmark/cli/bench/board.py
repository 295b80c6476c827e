"""``faceveil bench board``: the pages with many records and many readers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from benchmark.cli.output import Json, emit, out, steps, table


def board(
    records: Annotated[int, typer.Option(min=0, help="Made-up records on one board; 0: the shipped ones.")] = 10_000,
    readers: Annotated[int, typer.Option(min=1, help="Sessions at once.")] = 50,
    times: Annotated[int, typer.Option(min=1, help="Page loads to time.")] = 5,
    json: Json = False,
) -> None:
    """Times the leaderboard in a browser: first paint, filters, memory under many readers, cached requests.  Needs chromium."""
    import os
    import platform

    from leaderboard.bench.timings import bench

    with steps() as progress:
        rows = bench(records, readers, times, progress.step)
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "python": platform.python_version()}
    document: dict[str, Any] = {"records": records, "readers": readers, "machine": machine, "rows": rows}

    def show() -> None:
        cells = [[r["name"], f"{r['value']:.2f} {r['unit']}", _verdict(r), r["note"]] for r in rows]
        table(
            f"leaderboard, {f'{records:,} made-up' if records else 'shipped'} records", ["what", "measured", "aim", ""], cells
        )
        out.print(f"{machine['cores']} cores, load {machine['load']} at the end")

    emit(document, json, show)


def _verdict(row: dict[str, Any]) -> str:
    if row["bound"] is None:
        return ""
    rate = row["unit"] == "a second"
    met = row["value"] >= row["bound"] if rate else row["value"] <= row["bound"]
    return f"{'at least' if rate else 'at most'} {row['bound']:g}: {'met' if met else 'missed'}"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("board")(board)
