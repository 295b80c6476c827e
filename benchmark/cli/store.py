"""``faceveil store export | import | list | remove | backup | restore``: records in and out, and everything in one file."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.output import Json, check_out, emit, facts, table, unreadable
from benchmark.cli.submit import StoreOption, open_store

if TYPE_CHECKING:
    from benchmark.records.record import Record

app = typer.Typer(help="Records in and out of the store.", no_args_is_help=True)


class Format(StrEnum):
    JSON = "json"
    CSV = "csv"
    MODEL_INDEX = "model-index"
    EVAL_RESULTS = "eval-results"


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="store")


@app.command()
def export(
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="json: whole records; csv: one row per entry; model-index, eval-results: YAML for the Hugging Face Hub.",
        ),
    ] = Format.JSON,
    track: Annotated[str | None, typer.Option(help="Only this track.")] = None,
    submission: Annotated[str | None, typer.Option(help="Only this submission's records, by the start of its hash.")] = None,
    dataset: Annotated[str, typer.Option(help="namespace/name of the benchmark on the Hub, for eval-results.")] = "",
    thin: Annotated[
        bool, typer.Option("--thin", help="Write curves with fewer points, for records that ship; json only.")
    ] = False,
    out_: Annotated[Path | None, typer.Option("--out", help="A file instead of stdout.")] = None,
    store: StoreOption = None,
) -> None:
    """Writes the stored records.

    An inversion that lies beside --out in a file of its own (folder inversions) is not written into the records again.
    """
    from benchmark.records.beside import apart
    from benchmark.records.thinning import thinned
    from benchmark.runtime.atomic import write_text

    if thin and format_ is not Format.JSON:
        raise typer.BadParameter("--thin goes with --format json: the other formats hold no curves")
    if (format_ is Format.EVAL_RESULTS) != bool(dataset):
        raise typer.BadParameter("--dataset NAMESPACE/NAME goes with --format eval-results, and is needed there")
    check_out(out_)
    records = open_store(store).records(track, unreadable)
    if submission:
        records = [r for r in records if r.provenance.submission_id.startswith(submission)]
    if out_ is not None and format_ is Format.JSON:
        records = [apart(record, out_.parent) for record in records]
    text = _text([thinned(record) for record in records] if thin else records, format_, dataset)
    if out_ is None:
        print(text, end="")
    else:
        write_text(out_, text)


def _text(records: Sequence[Record], format_: Format, dataset: str) -> str:
    from benchmark.records.exporting import eval_results_yaml, model_index_yaml, to_csv, to_json

    match format_:
        case Format.JSON:
            return to_json(records)
        case Format.CSV:
            return to_csv(records)
        case Format.MODEL_INDEX:
            return model_index_yaml(records)
        case Format.EVAL_RESULTS:
            return eval_results_yaml(records, dataset)


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(help="JSON files: records, or lists of records.")],
    store: StoreOption = None,
    json: Json = False,
) -> None:
    """Adds records from files; one that is already there is replaced."""
    outcomes = {outcome.value: count for outcome, count in open_store(store).import_records(paths).items()}
    emit(outcomes, json, lambda: facts(outcomes))


@app.command("list")
def list_(
    track: Annotated[str | None, typer.Option(help="Only this track.")] = None, store: StoreOption = None, json: Json = False
) -> None:
    """Shows the stored records with their names, those that were removed, and why."""
    opened = open_store(store)
    rows = [row.model_dump(mode="json") for row in opened.index(track)]
    gone = [row.model_dump(mode="json") for row in opened.removals() if track in (None, row.track)]

    def show() -> None:
        cells = [
            [r["id"][:16], r["summary"]["name"], r["summary"]["team"], r["track"], r["board"], r["created"][:10]] for r in rows
        ]
        table(f"{len(rows)} records", ["record", "name", "team", "track", "board", "date"], cells)
        if gone:
            removed = [[r["id"][:16], r["name"], r["team"], r["moment"][:10], r["reason"]] for r in gone]
            table("removed", ["record", "name", "team", "date", "reason"], removed)

    emit({"records": rows, "removed": gone}, json, show)


@app.command()
def remove(
    record: Annotated[str, typer.Argument(help="The record's name, or its beginning, as `faceveil store list` shows it.")],
    reason: Annotated[str, typer.Option(help="The reason, which stays visible.")],
    store: StoreOption = None,
    json: Json = False,
) -> None:
    """Removes a record for good; name, date and reason stay visible."""
    trace = open_store(store).remove_record(record, reason).model_dump(mode="json")
    emit(trace, json, lambda: facts(trace))


@app.command()
def backup(
    path: Annotated[Path, typer.Argument(help="File to write; an older one is replaced when the new one is whole.")],
    store: StoreOption = None,
    json: Json = False,
) -> None:
    """Writes everything in the store to one file, while others keep working; uploaded files are not in it."""
    rows = open_store(store).backup(path)
    emit(rows, json, lambda: facts(rows))


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(help="A file that `faceveil store backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace what the store holds now, in one step; boards can keep running.")
    ] = False,
    store: StoreOption = None,
    json: Json = False,
) -> None:
    """Fills a store from a backup, of this database or of another."""
    from benchmark.service.backup import restore as fill
    from benchmark.service.store import store_location

    rows = fill(store or store_location(), path, replace)
    emit(rows, json, lambda: facts(rows))
