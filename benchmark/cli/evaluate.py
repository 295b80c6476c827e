"""``faceveil evaluate | rank``: the standardised evaluation, and what it says side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.output import Device, Json, Ray, Workers, emit, number, out, pick_device, settings, steps, table, unreadable
from benchmark.cli.train import Data, open_init
from benchmark.interfaces import AttackSpec, FaceVeilError

if TYPE_CHECKING:
    from benchmark.protocol.track import Track
    from benchmark.records.record import Record


def parse_attack(text: str) -> AttackSpec:
    """``name`` or ``name:key=value:key=value``."""
    name, *pairs = text.split(":")
    return AttackSpec(name=name, settings=settings(pairs))


def with_shadows(track: Track, text: str) -> Track:
    """The track with another shadow budget: ``photos=16,people=8``; what is not named stays.

    Raises:
        typer.BadParameter: an unknown kind, or no whole number.
    """
    if not text:
        return track
    budget = track.shadows.model_dump()
    for pair in text.split(","):
        kind, _, count = pair.strip().partition("=")
        if kind not in budget or not count.isdecimal():
            raise typer.BadParameter(f"--shadows takes {', '.join(f'{k}=N' for k in budget)}; got {pair!r}")
        budget[kind] = int(count)
    return track.model_copy(update={"shadows": type(track.shadows)(**budget)})


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
    gate = "passed" if record.gate.valid else "FAILED: shown, unranked"
    out.print(f"blind gate: {gate} ({len(record.gate.probes)} probes)")
    if head is not None:
        out.print(f"TAR@FAR=1e-3 {number(head.utility)}", markup=False)
        out.print(
            f"membership leakage {number(head.leakage)} by {head.leakage_attack}, {head.leakage_contrast.value}", markup=False
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
    init: Annotated[
        Path | None, typer.Option(help="The weights a fine-tuned submission started from, for its shadows.")
    ] = None,
    shadows: Annotated[
        str,
        typer.Option(help="Another shadow budget than the track's, such as photos=16,people=8. The record is then not ranked."),
    ] = "",
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
    standard = get_track(track)
    setting = with_shadows(standard, shadows)
    where = pick_device(device)
    with steps() as progress:
        engine = Engine.fitting(where, workers, ray)
        session = Session(setting, data, where, init=open_init(init), progress=progress, engine=engine)
        loaded = load_submission(submission)
        record = session.evaluate(loaded, chosen)
        if inversion:
            record = with_inversion(record, session.inversion(loaded).run())
    if out_ is not None:
        write_text(out_, record.model_dump_json(indent=1))
    if store and chosen is None and setting == standard:
        Store().add_record(record)
    emit(record.model_dump(mode="json"), json, lambda: show_record(record))


def ranking_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Ranked entries of one track as plain data."""
    from benchmark.records.ranking import rank

    rows = []
    for entry in rank(records):
        first = entry.runs[0]
        head = first.headline
        rows.append({
            "rank": entry.rank, "tied": entry.tied, "entry": entry.label, "board": first.board, "seeds": len(entry.runs),
            "utility": [entry.utility.value, entry.utility.low, entry.utility.high],
            "leakage": [entry.leakage.value, entry.leakage.low, entry.leakage.high],
            "by": f"{head.leakage_attack} ({head.leakage_contrast.value})" if head else "",
            "unranked": list(entry.reasons),
        })  # fmt: skip
    return rows


def show_ranking(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """The ranking as a table."""

    def triple(v: Sequence[float | None]) -> str:
        return "–" if None in v else f"{v[0]:.3f} [{v[1]:.3f}, {v[2]:.3f}]"

    cells = [
        ["–" if r["rank"] is None else f"{r['rank']}{' (tie)' if r['tied'] else ''}", r["entry"], triple(r["utility"]),
         triple(r["leakage"]), r["by"], r["board"], "; ".join(r["unranked"])]
        for r in rows
    ]  # fmt: skip
    columns = [
        "rank",
        "entry",
        "TAR@FAR=1e-3 [95 %] (up)",
        "membership advantage (down)",
        "worst attack",
        "board",
        "why unranked",
    ]
    if not any(r["unranked"] for r in rows):
        columns, cells = columns[:-1], [c[:-1] for c in cells]
    table(title, columns, cells)


def rank_(track: Annotated[str, typer.Option(help="See `faceveil list tracks`.")] = "synthetic-64", json: Json = False) -> None:
    """Ranks the stored records of a track by privacy and utility."""
    from benchmark.protocol.tracks import get_track
    from benchmark.service.store import Store

    records = Store().records(get_track(track).name, unreadable)
    if not records:
        raise FaceVeilError(
            f"no record of track {track!r} in the store yet; run `faceveil quickstart`, or `faceveil evaluate`."
        )
    rows = ranking_rows(records)
    emit(rows, json, lambda: show_ranking(f"{track}: entries in one layer are not significantly dominated by each other", rows))


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("evaluate")(evaluate)
    app.command("rank")(rank_)
