"""``faceveil bench compare``: two documents of one bench command, side by side."""

from __future__ import annotations

import json as json_
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.output import Json, emit, out, table
from benchmark.interfaces import FaceVeilError

NAMES = ("way", "stage", "name", "part", "what")  # what tells the rows of a list apart


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("compare")(compare)


def compare(
    old: Annotated[Path, typer.Argument(help="What a bench command printed with --json.")],
    new: Annotated[Path, typer.Argument(help="The same from another version or machine.")],
    json: Json = False,
) -> None:
    """Ratios of everything that was measured in two runs of the same bench command; says which settings differ."""
    before, after = dict(leaves(_read(old))), dict(leaves(_read(new)))
    measured = [k for k in before if k in after and all(isinstance(d[k], float) for d in (before, after))]
    if not measured:
        raise FaceVeilError(f"{old} and {new} have no measured number in common: give two documents of one bench command.")
    rows = [
        {"what": k, "old": before[k], "new": after[k], "ratio": after[k] / before[k] if before[k] else None} for k in measured
    ]
    settings = {
        k: [before.get(k), after.get(k)]
        for k in dict.fromkeys((*before, *after))
        if k not in measured and before.get(k) != after.get(k)
    }

    def show() -> None:
        cells = [
            [r["what"], f"{r['old']:.4g}", f"{r['new']:.4g}", "–" if r["ratio"] is None else f"{r['ratio']:.3f}"] for r in rows
        ]
        table(f"{old.name} and {new.name}", ["what", "old", "new", "new / old"], cells)
        for key, (one, other) in settings.items():
            out.print(f"differs: {key}: {one} and {other}", markup=False)

    emit({"measured": rows, "settings_that_differ": settings}, json, show)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text of a document by its path; rows of lists go by their names, where they have some."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            names = [part[n] for n in NAMES if n in part] if isinstance(part, dict) else []
            yield from leaves(part, f"{path}[{names[0] if names else number}]")
    else:
        yield path, value


def _read(path: Path) -> Any:
    try:
        return json_.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FaceVeilError(f"{path} cannot be read as what a bench command prints with --json: {error}") from None
