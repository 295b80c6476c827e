"""``faceveil store export | import``: records in and out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.output import Json, emit, facts

app = typer.Typer(help="Records in and out of the store.", no_args_is_help=True)


class Format(StrEnum):
    JSON = "json"
    CSV = "csv"


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="store")


@app.command()
def export(
    format_: Annotated[Format, typer.Option("--format", help="json: whole records; csv: a row an entry.")] = Format.JSON,
    track: Annotated[str | None, typer.Option(help="Only this track.")] = None,
    out_: Annotated[Path | None, typer.Option("--out", help="A file instead of stdout.")] = None,
) -> None:
    """Writes the stored records."""
    from benchmark.atomic import write_text
    from benchmark.exporting import to_csv, to_json
    from benchmark.store import Store

    records = Store().records(track)
    text = to_json(records) if format_ is Format.JSON else to_csv(records)
    if out_ is None:
        print(text, end="")
    else:
        write_text(out_, text)


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(help="JSON files: records, or lists of records.")], json: Json = False
) -> None:
    """Adds records from files; one that is already there is replaced."""
    from benchmark.store import Store

    outcomes = {outcome.value: count for outcome, count in Store().import_records(paths).items()}
    emit(outcomes, json, lambda: facts(outcomes))
