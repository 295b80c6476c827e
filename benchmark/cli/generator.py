"""``faceveil generator train | check | import | preview``: the face generators that inversion attacks use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.invert import Judges, opened
from benchmark.cli.output import Device, Json, check_out, emit, facts, number, out, pick_device, settings, steps, table
from benchmark.cli.train import Data
from benchmark.interfaces import FaceVeilError
from benchmark.runtime.unfinished import remove_abandoned

app = typer.Typer(help="Train, import and inspect the generators that inversion attacks use.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="generator")


def _refuse_overwriting(path: Path) -> None:
    remove_abandoned(path.resolve().parent)
    if path.exists():
        raise FaceVeilError(f"{path} exists; choose another --out, or remove it first.")


@app.command()
def train(
    track: Annotated[str, typer.Option(help="Track on whose auxiliary people it is trained; see `faceveil list tracks`.")],
    data: Data = None,
    out_: Annotated[
        Path | None,
        typer.Option("--out", help="File to write (.safetensors); default: where this machine's attacks look for it."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting as key=value, such as images=200000; may be repeated.")
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            help="Whose features the FID compares: weights (a path), auxiliary (a backbone trained on public people, made "
            "where it is missing) or none."
        ),
    ] = "auxiliary",
    every: Annotated[int, typer.Option(min=1, help="Photos between checkpoints, each with a picture and the FID.")] = 5_000,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Trains a small StyleGAN2 on the auxiliary people of a track; run it again to resume."""
    from attacks.generators import commands
    from benchmark.protocol.tracks import get_track

    if out_ is not None:
        _refuse_overwriting(out_)
    with steps() as progress:
        document = commands.train(
            get_track(track),
            data,
            out=out_,
            seed=seed,
            settings=settings(set_ or []),
            features_of=features,
            every=every,
            device=pick_device(device),
            report=progress,
        )
    emit(document, json, lambda: facts(document))


@app.command()
def check(
    track: Annotated[str, typer.Option(help="Track whose panel judges; see `faceveil list tracks`.")],
    weights: Annotated[
        Path | None,
        typer.Argument(help="A generator: .safetensors, .pkl or .pt; default: the track's own."),
    ] = None,
    data: Data = None,
    judge: Judges = None,
    people: Annotated[int, typer.Option(min=2, help="Held-out people whose faces are projected into W+.")] = 100,
    iterations: Annotated[int, typer.Option(min=1, help="Steps of a projection.")] = 200,
    picture: Annotated[Path | None, typer.Option(help="PNG of faces beside their projections; synthetic tracks only.")] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measures a generator: its samples against real faces, and whether it can reproduce a face that it never saw."""
    from attacks.generators import commands
    from benchmark.protocol.tracks import get_track

    with steps() as progress:
        document = commands.check(
            get_track(track),
            data,
            weights,
            judges=opened(judge),
            people=people,
            steps=iterations,
            picture=picture,
            device=pick_device(device),
            report=progress,
            training=progress.training,
        )
    emit(document, json, lambda: _show_check(document))


def _show_check(found: dict[str, Any]) -> None:
    from benchmark.records.results import Metric

    names = ("fid", "floor", "precision", "recall", "density", "coverage")
    rows = [[judge, *(number(Metric(**m[name])) for name in names)] for judge, m in found["distribution"].items()]
    table("samples against real faces, on each judge's features", ["judge", *names], rows)
    shown = list(found["projection"]["photo"])
    rows = [[what, *(number(Metric(**m[name])) for name in shown)] for what, m in found["projection"].items()]
    table(f"{found['people']} held-out faces in W+, the judges agreeing", ["image", *shown], rows)
    out.print(f"generator: {found['generator']}; {found['steps']} steps, error {found['rmse']} grey levels", markup=False)
    out.print(f"chance of rank 1: {1 / found['gallery']:.4f} ({found['gallery']} people in the gallery)", markup=False)


@app.command("import")
def import_(
    weights: Annotated[Path, typer.Argument(help="NVlabs .pkl, rosinality .pt, or .safetensors. Its code never runs.")],
    out_: Annotated[Path, typer.Option("--out", help="File to write (.safetensors).")],
    json: Json = False,
) -> None:
    """Reads a published StyleGAN2 generator, tensors only, and writes it as safetensors."""
    from attacks.generators import commands

    _refuse_overwriting(out_)
    document = commands.import_(weights, out_)
    emit(document, json, lambda: facts(document))


@app.command()
def preview(
    weights: Annotated[Path, typer.Argument(help="A generator: .safetensors, .pkl or .pt.")],
    out_: Annotated[Path, typer.Option("--out", help="PNG to write.")],
    rows: Annotated[int, typer.Option(min=1, max=64)] = 6,
    columns: Annotated[int, typer.Option(min=1, max=64)] = 8,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    truncation: Annotated[float, typer.Option(min=0, max=2, help="1: as drawn; towards 0: nearer the average face.")] = 1.0,
) -> None:
    """Draws a grid of samples, and prints how the generator was made."""
    from attacks.generators import commands

    check_out(out_, weights)
    facts(commands.preview(weights, out_, rows=rows, columns=columns, seed=seed, truncation=truncation))
