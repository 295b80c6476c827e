"""``faceveil head-memory``: what a training head remembers about its photos while the backbone stays fixed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.output import Device, Json, emit, number, out, pick_device, steps, table

if TYPE_CHECKING:
    from attacks.head_memory import HeadMemory


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("head-memory")(head_memory)


def show_memory(found: HeadMemory) -> None:
    """The head beside the head that is regrown."""
    rows = [
        ["training head", number(found.plain)],
        ["training head, LiRA", number(found.lira)],
        ["head regrown from embeddings", number(found.regrown)],
    ]
    what = f"{found.heads} heads on the frozen backbone, {found.people} people, {found.photos} photos each, seed {found.seed}"
    table(what, ["attack", "AUC, seen against unseen photos [95 %]"], rows)
    out.print("the backbone never saw these photos: what the training head gives away is its own memory", markup=False)


def head_memory(
    submission: Annotated[Path, typer.Argument(help="A backbone that was not trained on these people.")],
    data: Annotated[Path, typer.Option(help="Aligned faces: a folder, zip, tar or RecordIO file.")],
    people: Annotated[int, typer.Option(min=8)] = 250,
    photos: Annotated[int, typer.Option(min=2, help="Photos per person; half of them are trained on.")] = 4,
    heads: Annotated[int, typer.Option(min=3, help="Heads that take turns as the target.")] = 16,
    epochs: Annotated[int, typer.Option(min=1)] = 6,
    lr: Annotated[float, typer.Option(min=0.0)] = 0.01,
    seed: Annotated[int, typer.Option()] = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Trains heads alone on a frozen backbone and attacks them: the part of the head's leak that no backbone holds."""
    from attacks.head_memory import head_memory as measure
    from benchmark.data.readers.open import open_faces
    from benchmark.interfaces import Access
    from benchmark.protocol.track import TrainingConfig
    from benchmark.runtime.home import cache_dir
    from benchmark.signals.target import Target
    from benchmark.submissions.submission import load_submission

    with steps() as progress:
        progress.step("reading photos")
        faces = open_faces(data, cache=cache_dir() / "photos")
        target = Target(load_submission(submission), Access.EMBEDDING, pick_device(device))
        progress.step(f"training {heads} heads")
        config = TrainingConfig(epochs=epochs, lr=lr)
        found = measure(target, faces, people=people, each=photos, heads=heads, config=config, seed=seed)
    emit(found.model_dump(mode="json"), json, lambda: show_memory(found))
