"""``faceveil evaluate``: the standardised evaluation of one entry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.outlook import outlook
from benchmark.cli.outlook import show as show_outlook
from benchmark.cli.output import (
    Device,
    Json,
    Ray,
    Workers,
    check_out,
    complain,
    emit,
    legend,
    number,
    numbered,
    out,
    pick_device,
    settings,
    steps,
    table,
)
from benchmark.cli.submit import StoreOption
from benchmark.cli.train import Data, Public, open_init
from benchmark.interfaces import AttackSpec, Contrast

if TYPE_CHECKING:
    from benchmark.records.record import Record


def parse_attack(text: str) -> AttackSpec:
    """``name`` or ``name:key=value:key=value``."""
    name, *pairs = text.split(":")
    return AttackSpec(name=name, settings=settings(pairs))


def show_record(record: Record) -> None:
    """The record in brief, and a table of the attacks with their names below it."""
    out.print(str(record), markup=False, soft_wrap=True)
    done = [attack for attack in record.membership if attack.status == "ok"]
    names = numbered(attack.label + (" (adaptive)" if attack.adaptive else "") for attack in done)
    rows = []
    for attack, name in zip(done, names, strict=True):
        cells = [
            number(attack.contrasts[contrast].metrics.get(metric)) if contrast in attack.contrasts else "–"
            for contrast, metric in _SHOWN
        ]
        rows.append([*cells, names[name]])
    out.print("membership attacks", style="bold")
    table("", ["sample AUC", "identity AUC", "sample advantage", "attack"], rows, whole=range(4))
    legend("attacks", names)
    for attack in record.membership:
        if attack.status != "ok":
            out.print(f"{attack.label}: {attack.status.replace('_', ' ')}: {attack.reason}", markup=False, soft_wrap=True)


_SHOWN = ((Contrast.SAMPLE, "auc"), (Contrast.IDENTITY, "auc"), (Contrast.SAMPLE, "advantage"))


def evaluate(
    submission: Annotated[Path, typer.Argument(help="Submission folder or zip.")],
    track: Annotated[str, typer.Option(help="See `faceveil list tracks`.")],
    attacks: Annotated[
        str, typer.Option(help="Only these, comma-separated; name:key=value for settings. The record is then not ranked.")
    ] = "",
    out_: Annotated[Path | None, typer.Option("--out", help="Also write the record to this file.")] = None,
    keep: Annotated[bool, typer.Option(help="Keep the record in the store.")] = True,
    store: StoreOption = None,
    data: Data = None,
    public: Public = None,
    init: Annotated[
        Path | None, typer.Option(help="The weights a fine-tuned submission started from, for its shadows.")
    ] = None,
    inversion: Annotated[
        bool,
        typer.Option("--inversion", help="Also run the inversion attacks, which takes minutes more. See `faceveil invert`."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the steps, which are done, and how long the rest will take; run none."),
    ] = False,
    workers: Workers = None,
    ray: Ray = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Runs a track's utility tests and attacks on a submission; resumes an interrupted run."""
    from benchmark.evaluation.inversion.judgement import with_inversion
    from benchmark.evaluation.session import Session
    from benchmark.protocol.registry import build_attacks
    from benchmark.protocol.tracks import get_track
    from benchmark.runtime.atomic import write_text
    from benchmark.runtime.executor import Engine
    from benchmark.service.store import Store
    from benchmark.submissions.submission import load_submission

    check_out(out_, submission)
    chosen: Sequence[AttackSpec] | None = [parse_attack(a) for a in attacks.split(",") if a] or None
    build_attacks(chosen or ())
    setting, loaded, start = get_track(track), load_submission(submission), open_init(init)
    where = pick_device(device)
    with steps() as progress:
        engine = Engine.fitting(where, workers, ray)
        session = Session(setting, data, where, init=start, public=public, progress=progress, engine=engine)
        complain(session.populations.warnings)
        planned = outlook(session.outlook(loaded, chosen), engine) if dry_run else None
        record = None if planned else session.evaluate(loaded, chosen)
        if inversion and record is not None:
            record = with_inversion(record, session.inversion(loaded).run())
    if record is None:
        emit({"track": track, **(planned or {})}, json, lambda: show_outlook(planned or {}))
        return
    if out_ is not None:
        write_text(out_, record.model_dump_json(indent=1))
    if keep and chosen is None:
        Store(store).add_record(record)
    emit(record.model_dump(mode="json"), json, lambda: show_record(record))


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("evaluate")(evaluate)
