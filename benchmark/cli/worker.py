"""``faceveil worker``: evaluates what is in the queue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.output import Device, Json, emit, err, facts, pick_device
from benchmark.cli.submit import StoreOption, open_store
from benchmark.cli.train import Data, open_init


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("worker")(worker)


def worker(
    once: Annotated[bool, typer.Option("--once", help="Take one job and exit; exit at once if there is none.")] = False,
    track: Annotated[list[str] | None, typer.Option(help="Only this track; repeat for more. Default: all with data.")] = None,
    data: Data = None,
    init: Annotated[Path | None, typer.Option(help="The weights that fine-tuned submissions started from.")] = None,
    inversion: Annotated[bool, typer.Option(help="Also run the track's inversion attacks.")] = True,
    round_: Annotated[
        str | None,
        typer.Option("--round", help="Evaluate synthetic tracks in this round; see `faceveil round`."),
    ] = None,
    device: Device = "auto",
    pause: Annotated[float, typer.Option(min=0.1, help="Seconds to wait when the queue is empty.")] = 5.0,
    memory: Annotated[
        float | None,
        typer.Option(min=0.5, help="GiB that this process, and each that it starts, may take; default 4/5 of all."),
    ] = None,
    store: StoreOption = None,
    json: Json = False,
) -> None:
    """Takes jobs from the queue, checks or evaluates them and publishes their records, until it is interrupted.

    Any number may work on one store.  A job whose worker was killed is taken up by another, which resumes it.
    """
    from benchmark.protocol.tracks import TRACKS, get_track
    from benchmark.runtime.memory import limit_memory
    from benchmark.runtime.rounds import find_round
    from benchmark.service.intake import Intake
    from benchmark.service.worker import Worker, standard_evaluation

    held = find_round(round_).name if round_ else None  # first: without the secret nothing can be evaluated
    tracks = [get_track(name).name for name in track or []]
    if not tracks:
        tracks = [name for name, found in TRACKS.items() if found.source == "synthetic" or data is not None]
    opened = open_store(store)
    chosen = pick_device(device)
    if str(chosen) == "cpu":  # a GPU's driver reserves more addresses than there is memory
        limit_memory(int(memory * 2**30) if memory else None)
    evaluation = standard_evaluation(data, chosen, open_init(init), inversion=inversion, held=held)
    intake = Intake(opened)
    working = Worker(opened, intake, evaluation, tracks=tracks, log=_log)
    try:
        if not once:
            _log(f"worker {working.name} on {opened.name}: {', '.join(tracks)}")
            working.run(pause)
        job = working.once()
    finally:
        intake.close()
    document = job.model_dump(mode="json") if job else None
    emit(document, json, lambda: facts(document or {"queue": "empty"}))


def _log(text: str) -> None:
    err.print(f"  {text}", markup=False, soft_wrap=True)
