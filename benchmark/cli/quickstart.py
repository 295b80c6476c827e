"""``faceveil quickstart``: a few defended backbones trained, attacked and ranked, in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.output import Device, Json, Workers, emit, out, pick_device, steps
from benchmark.cli.rank import ranking
from benchmark.cli.rank import show as show_ranking
from benchmark.interfaces import DefenseSpec
from benchmark.records.runs import QUICKSTART

if TYPE_CHECKING:
    from benchmark.protocol.track import Track

ENTRIES = (
    DefenseSpec(name="undefended"),
    DefenseSpec(name="public_only"),
    DefenseSpec(name="bn_perturbation", settings={"rho": 0.5}),
    DefenseSpec(name="early_stopping", settings={"share": 0.2}),
)
# Fewer people and fewer backbones an entry than the tracks have, and no attacker with shadows on public people: minutes instead
# of half an hour.  What is measured is a track of its own, with a board of its own.
TRACK = "synthetic-quick[pool=360,population=3,public=300,shadows=0]"
FAST_TRACK = "synthetic-smoke[population=3,shadows=0]"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("quickstart")(quickstart)


def entry_folder(track: str, spec: DefenseSpec, seed: int) -> Path:
    """Where quickstart keeps an entry, under the runs folder."""
    from benchmark.interfaces import content_hash
    from benchmark.protocol.tracks import get_track
    from benchmark.runtime.home import runs_dir

    digest = content_hash(get_track(track).digest, spec.model_dump(mode="json"), length=8)
    return runs_dir() / track / f"{spec.name}-{digest}-seed{seed}"


def told_reduction(track: Track) -> str:
    """What a track of quickstart has less of than the whole one, and how that is run."""
    from benchmark.protocol.tracks import get_track
    from benchmark.protocol.variants import parse

    whole = get_track(parse(track.name)[0])
    parts = [f"{track.population} backbones an entry instead of {whole.population}"]
    if track.roles.pool < whole.roles.pool:
        parts.append(f"{track.roles.pool} people instead of {whole.roles.pool}")
    return (
        f"reduced: {', '.join(parts)}, no attacker with shadows on public people. `faceveil train --track {whole.name}` and "
        f"`faceveil evaluate --track {whole.name}` run the whole track."
    )


def quickstart(
    fast: Annotated[bool, typer.Option("--fast", help="A smoke test, too small for conclusions.")] = False,
    seed: int = 0,
    workers: Workers = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Trains four entries, attacks them, stores the records and prints the ranking.

    Reuses what an earlier run finished.
    """
    from benchmark.evaluation.session import Session
    from benchmark.protocol.tracks import get_track
    from benchmark.runtime.executor import Engine
    from benchmark.service.store import Store
    from benchmark.submissions.package import is_packed
    from benchmark.submissions.submission import load_submission

    track = get_track(FAST_TRACK if fast else TRACK)
    store = Store()
    with steps() as progress:
        where = pick_device(device)
        session = Session(track, None, where, progress=progress, engine=Engine.fitting(where, workers))
        if seed == 0:  # the seed whose backbones are those of the entries' populations
            session.prepare_all(ENTRIES)
        folders = [entry_folder(track.name, spec, seed) for spec in ENTRIES]
        for spec, folder in zip(ENTRIES, folders, strict=True):
            if not is_packed(folder):
                session.train(spec, seed, folder, card={"team": QUICKSTART})
        records = session.evaluate_all([load_submission(folder) for folder in folders])
        for record in records:
            store.add_record(record)
    from benchmark.records.ranking import rank

    tables = ranking(rank(records))
    reduced = told_reduction(track)

    def show() -> None:
        show_ranking(tables)
        if fast:
            out.print(
                "[bold yellow]smoke run:[/] too few people to conclude anything from; run `faceveil quickstart` for a result."
            )
        else:
            out.print(reduced)
        out.print("\nopen the board:  [bold]faceveil leaderboard[/]")

    emit({"track": track.name, "conclusive": track.conclusive, "reduced": reduced, "tables": tables}, json, show)
