"""``faceveil was-i-in-it``: one person's photos against those of people who were not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.audit_model import Backbone, BackboneSet, Mean, Std, numbers
from benchmark.cli.output import Device, Json, emit, out, pick_device, settings, steps


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("was-i-in-it")(was_i_in_it)


def was_i_in_it(
    model: Annotated[Path, typer.Argument(help="A submission, a public checkpoint, or weights of a timm model.")],
    mine: Annotated[Path, typer.Option(help="Photos of one person, two or more, on different days.")],
    others: Annotated[
        Path, typer.Option(help="Photos of people who were certainly not trained on, of the same kind; one folder a person.")
    ],
    fpr: Annotated[float, typer.Option(help="Largest false positive rate of a statement; 0.05 takes 19 others.")] = 0.05,
    reference: Annotated[
        Path | None, typer.Option(help="A model that certainly never saw the person, to compare with.")
    ] = None,
    backbone: Backbone = "",
    backbone_set: BackboneSet = None,
    mean: Mean = "0.5",
    std: Std = "0.5",
    seed: Annotated[int, typer.Option(help="Seed of the choice of photos, where some people have more than others.")] = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Says whether a person was probably trained on, with the false positive rate of that very statement."""
    from benchmark.evaluation.audit.model_files import open_model
    from benchmark.evaluation.audit.person_test import was_i_in_it as test
    from benchmark.protocol.track import InputSpec

    opened = open_model(model, backbone, settings(backbone_set or []))
    other = open_model(reference) if reference is not None else None
    spec = opened.input
    if spec is None:
        a, b = numbers(mean, "--mean"), numbers(std, "--std")
        spec = InputSpec(size=(112, 112), mean=(a[0], a[1], a[2]), std=(b[0], b[1], b[2]))
    with steps() as progress:
        found = test(
            opened.module,
            mine=mine,
            others=others,
            input=spec,
            reference=other.module if other else None,
            reference_input=other.input if other else None,
            fpr=fpr,
            seed=seed,
            device=pick_device(device),
            progress=progress.step,
        )

    def show() -> None:
        out.print(found.text, markup=False, soft_wrap=True)
        low, high = found.conditional
        if found.outcome != "refused":
            out.print(f"people not trained on who stand out as much: {found.above} of {found.others}, "
                      f"{low:.1%} to {high:.1%} (95 %); {found.photos} photos of each person", markup=False)  # fmt: skip
        for control, rate in found.controls.items():
            out.print(f"the same rate by {control}: {rate:.1%}", markup=False)
        for note in found.notes:
            out.print(f"note: {note}", markup=False)

    emit(found.model_dump(mode="json"), json, show)
