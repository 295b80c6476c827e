"""``faceveil evaluate``: the standardised evaluation of one entry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.output import Device, Json, Ray, Workers, emit, number, out, pick_device, settings, steps, table
from benchmark.cli.train import Data, Public, open_init
from benchmark.interfaces import AttackSpec, Contrast

if TYPE_CHECKING:
    from benchmark.records.record import Record


def parse_attack(text: str) -> AttackSpec:
    """``name`` or ``name:key=value:key=value``."""
    name, *pairs = text.split(":")
    return AttackSpec(name=name, settings=settings(pairs))


def show_record(record: Record) -> None:
    """The record as tables."""
    head = record.headline
    out.print(f"{record.card.name} on {record.track}, protocol {record.protocol_version}", style="bold", markup=False)
    table(
        "recognition", ["metric", "value [95 %]", "n"], [[k, number(m), f"{m.n} {m.unit}"] for k, m in record.utility.items()]
    )
    rows: list[list[str]] = []
    for attack in record.membership:
        label = attack.label + (" (adaptive)" if attack.adaptive else "")
        if attack.status != "ok":
            rows.append([label, attack.status, attack.reason, "", "", ""])
        for contrast, result in attack.contrasts.items():
            m = result.metrics
            cells = [number(m.get(k)) for k in ("auc", "advantage", "tpr@fpr=1e-2", "excess_over_blind")]
            rows.append([label, contrast.value, *cells])
    table("membership", ["attack", "contrast", "AUC", "advantage", "TPR@1 %FPR", "AUC over blind"], rows)
    told = [c.value for c in (Contrast.SAMPLE, Contrast.IDENTITY) if not record.gate.passes(c)]
    gate = f"FAILED on {' and '.join(told)}, which does not count" if told else "passed"
    out.print(f"blind gate: {gate} ({len(record.gate.probes)} probes)")
    if head is not None:
        out.print(f"TAR@FAR=1e-3 {number(head.utility)}", markup=False)
        found = ", nothing found" if head.nothing_found else ""
        by = f"{head.leakage_attack}, {head.leakage_contrast.value}, over {head.targets} backbones"
        out.print(f"membership leakage {number(head.leakage)}{found}, by {by}", markup=False)
        out.print(
            f"TPR at 0.1 % FPR {number(head.low_fpr)}; the most exposed 1 % of photos {number(head.exposed)}", markup=False
        )
    for reason in record.unranked:
        out.print(f"unranked: {reason}", markup=False)
    for flag in record.flags:
        out.print(f"{flag.severity}: {flag.reason}", markup=False)


def evaluate(
    submission: Annotated[Path, typer.Argument(help="Submission folder or zip.")],
    track: Annotated[str, typer.Option(help="See `faceveil list tracks`.")],
    attacks: Annotated[
        str, typer.Option(help="Only these, comma-separated; name:key=value for settings. The record is then not ranked.")
    ] = "",
    out_: Annotated[Path | None, typer.Option("--out", help="Also write the record to this file.")] = None,
    store: Annotated[bool, typer.Option(help="Keep the record in the store.")] = True,
    data: Data = None,
    public: Public = None,
    init: Annotated[
        Path | None, typer.Option(help="The weights a fine-tuned submission started from, for its shadows.")
    ] = None,
    inversion: Annotated[
        bool,
        typer.Option("--inversion", help="Also run the inversion attacks, which takes minutes more. See `faceveil invert`."),
    ] = False,
    workers: Workers = None,
    ray: Ray = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Runs a track's utility tests and attacks on a submission; resumes an interrupted run."""
    from benchmark.evaluation.inversion.judgement import with_inversion
    from benchmark.evaluation.session import Session
    from benchmark.protocol.tracks import get_track
    from benchmark.runtime.atomic import write_text
    from benchmark.runtime.executor import Engine
    from benchmark.service.store import Store
    from benchmark.submissions.submission import load_submission

    chosen: Sequence[AttackSpec] | None = [parse_attack(a) for a in attacks.split(",") if a] or None
    where = pick_device(device)
    with steps() as progress:
        engine = Engine.fitting(where, workers, ray)
        session = Session(get_track(track), data, where, init=open_init(init), public=public, progress=progress, engine=engine)
        loaded = load_submission(submission)
        record = session.evaluate(loaded, chosen)
        if inversion:
            record = with_inversion(record, session.inversion(loaded).run())
    if out_ is not None:
        write_text(out_, record.model_dump_json(indent=1))
    if store and chosen is None:
        Store().add_record(record)
    emit(record.model_dump(mode="json"), json, lambda: show_record(record))


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("evaluate")(evaluate)
