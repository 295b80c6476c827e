"""``faceveil sweep``: a grid of entries, trained, evaluated and stored."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.outlook import outlook
from benchmark.cli.outlook import show as show_outlook
from benchmark.cli.output import Device, Json, Ray, Workers, emit, err, legend, numbered, out, pick_device, steps, table
from benchmark.cli.submit import StoreOption
from benchmark.cli.train import Data, Public
from benchmark.interfaces import FaceVeilError

if TYPE_CHECKING:
    from benchmark.evaluation.sweep.file import SweepEntry
    from benchmark.evaluation.sweep.sweep import SweepOutcome

COLUMNS = ("entry", "seed", "TAR@FAR=1e-3", "advantage", "AUC sample", "AUC identity", "inversion", "x")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("sweep")(sweep)


def sweep(
    file: Annotated[Path, typer.Argument(help="A sweep file (YAML), or the name of a shipped one, such as factors.")],
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only entries whose label matches, such as dp_sgd or 'bn_*'; repeat.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop cleanly after this many minutes.")] = None,
    out_: Annotated[Path | None, typer.Option("--out", help="Folder of the sweep; default under FACEVEIL_HOME/runs.")] = None,
    data: Data = None,
    public: Public = None,
    init: Annotated[Path | None, typer.Option(help="Weights that every entry starts from.")] = None,
    keep: Annotated[bool, typer.Option(help="Keep the records in the store, too.")] = True,
    store: StoreOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run and for how long; train nothing.")] = False,
    workers: Workers = None,
    ray: Ray = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Trains and evaluates a grid of entries, and summarises the results.

    Finished entries are kept: run the same command again to resume.
    """
    from benchmark.evaluation.sweep.file import open_sweep, unroll
    from benchmark.evaluation.sweep.sweep import Sweep
    from benchmark.runtime.executor import Engine
    from benchmark.runtime.home import runs_dir
    from benchmark.service.store import Store

    name, content = open_sweep(file)
    entries = _selected(unroll(content, data=data, init=init, public=public), only or [])
    folder = out_ or runs_dir() / "sweeps" / name
    where = pick_device(device)

    def report(number: int, entry: SweepEntry, what: str) -> None:
        err.print(f"{number}/{len(entries)} {entry.label} on {entry.track.name}, seed {entry.seed}: {what}", markup=False)

    with steps() as progress:
        work = Sweep(
            entries,
            folder,
            progress,
            device=where,
            engine=Engine.fitting(where, workers, ray),
            team=content.team,
            minutes=minutes,
            save=Store(store).add_record if keep and not dry_run else lambda _record: None,
            on_status=report,
        )
        work.check()
        outcomes = work.standing() if dry_run else work.run()
        planned = outlook(work.outlook(), work.engine) if dry_run else None
    document = {"sweep": name, "folder": str(folder), **_results(outcomes)}
    if planned is not None:
        document |= {"graph": planned, "minutes_left": round(planned["seconds"] / 60, 1)}
    emit(document, json, lambda: _show(document))
    if document["failed"]:
        raise typer.Exit(1)


def _results(outcomes: Sequence[SweepOutcome]) -> dict[str, Any]:
    """A row an entry, how many are done, and how long the others will take."""
    from benchmark.evaluation.sweep.summary import estimate, rows
    from benchmark.evaluation.sweep.sweep import DONE, FAILED, WAITING

    waiting = [o.entry for o in outcomes if o.status != DONE]
    return {
        "entries": rows(outcomes),
        "done": sum(o.status == DONE for o in outcomes),
        "failed": sum(o.status == FAILED for o in outcomes),
        "waiting": sum(o.status == WAITING for o in outcomes),
        "minutes_left": round(estimate(waiting, outcomes), 1),
    }


def _selected(entries: Sequence[SweepEntry], patterns: Sequence[str]) -> list[SweepEntry]:
    """Entries whose label, or one of whose defences, matches a pattern; all without one.

    Raises:
        FaceVeilError: a pattern that nothing matches.
    """
    if not patterns:
        return list(entries)
    chosen = []
    for entry in entries:
        names = [entry.label, entry.defense.name, *(m.name for m in entry.defense.members)]
        if any(fnmatch(name, pattern) for name in names for pattern in patterns):
            chosen.append(entry)
    if not chosen:
        labels = ", ".join(dict.fromkeys(e.label for e in entries))
        raise FaceVeilError(f"--only {' '.join(patterns)}: no entry of this name. Entries: {labels}.")
    return chosen


def _show(document: dict[str, Any]) -> None:
    """A table per track with the entries' names below it; what is not done stands last."""
    done = [row for row in document["entries"] if "utility" in row]
    for track in dict.fromkeys(row["track"] for row in done):
        of_track = [row for row in done if row["track"] == track]
        names = numbered(_name(row) for row in of_track)
        cells = [[names[_name(row)], str(row["seed"]), *_cells(row)] for row in of_track]
        empty = {"seed"} if len({row["seed"] for row in of_track}) == 1 else set()
        empty |= {name for n, name in enumerate(COLUMNS) if not any(row[n] for row in cells)}
        used = [n for n, name in enumerate(COLUMNS) if name not in empty]
        rows = [[row[n] for n in used] for row in cells]
        table(f"{document['sweep']}: {track}", [COLUMNS[n] for n in used], rows, whole=range(len(used)))
        legend("entries", names)
    if done:
        out.print("intervals of 95 %; AUC of the strongest attack on each contrast; x: training seconds over undefended's")
        out.print("(processor seconds where both records have them: other work on the machine disturbs these less)")
    for row in document["entries"]:
        if "utility" not in row:
            reason = f": {row['reason']}" if row["reason"] else ""
            line = f"{row['status']}: {row['entry']} on {row['track']}, seed {row['seed']}{reason}"
            out.print(line, markup=False, soft_wrap=True)
    out.print(f"{document['done']} done, {document['failed']} failed, {document['waiting']} waiting; in {document['folder']}")
    if document["waiting"]:
        out.print(f"about {document['minutes_left']:.0f} minutes are left.")
    if "graph" in document:
        show_outlook(document["graph"])


def _name(row: dict[str, Any]) -> str:
    return f"{row['entry']} (unranked)" if row["unranked"] else str(row["entry"])


def _cells(row: dict[str, Any]) -> list[str]:
    """The cells after entry and seed; intervals stand below their values, so that four of them fit 80 columns."""

    def triple(value: Sequence[float | None] | None) -> str:
        if not value:
            return ""
        centre, low, high = value
        return f"{centre:.3f}" if low is None or high is None else f"{centre:.3f}\n[{low:.3f}, {high:.3f}]"

    def best(found: dict[str, Any] | None) -> str:
        return triple(found["auc"]) if found else ""

    ratio = row["times_undefended"]
    return [
        triple(row["utility"]),
        triple(row["leakage"]),
        best(row["sample"]),
        best(row["identity"]),
        triple(row["inversion"]),
        "" if ratio is None else f"{ratio:.2f}",
    ]
