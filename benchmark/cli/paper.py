"""``faceveil paper``: the founding paper's protocol on a set of faces, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.output import Device, Json, Ray, Workers, emit, number, out, pick_device, settings, steps, table
from benchmark.interfaces import BackboneSpec, FaceVeilError

if TYPE_CHECKING:
    from benchmark.evaluation.paper import PaperRun

TRAIN = "train"
MEASURES = ("auc", "advantage", "tpr@fpr=1e-2")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("paper")(paper)


def paper(
    data: Annotated[Path, typer.Option(help="The data set as distributed: a folder with train.rec, train.idx and *.bin.")],
    out_: Annotated[Path, typer.Option("--out", help="Folder for weights and records; run again to resume.")],
    track: Annotated[str, typer.Option(help="webface-112, ms1m-112, or any other track that reads photos.")] = "webface-112",
    backbone: Annotated[list[str] | None, typer.Option(help="Repeat for more; default ir_se_50 and iresnet50.")] = None,
    generator: Annotated[
        str, typer.Option(help="The attacker's StyleGAN: a file, or train (a small one, on auxiliary people); default none.")
    ] = "",
    generator_set: Annotated[
        list[str] | None, typer.Option(help="With --generator train: a setting, key=value, such as images=200000.")
    ] = None,
    reconstructions: Annotated[int | None, typer.Option(min=1, help="Images to rebuild; default: one per member.")] = None,
    workers: Workers = None,
    ray: Ray = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Runs arXiv 2401.13719 on your faces: the linear attack on BatchNorm distances in both knowledge settings, and inversion.

    Trains each backbone undefended, measures it on the verification lists beside the data, attacks it, and has the
    reconstructions judged. A public generator of faces (--generator FILE) makes inversion what it is in the paper.
    """
    from benchmark.evaluation.paper import run_paper, verification_lists
    from benchmark.evaluation.session import Session
    from benchmark.protocol.tracks import PAPER_BACKBONES, get_track
    from benchmark.runtime.executor import Engine

    setting, where = get_track(track), pick_device(device)
    if setting.source != "folder":
        raise FaceVeilError(f"track {track!r} draws its own faces; the paper's protocol wants photos: --track webface-112.")
    chosen = [BackboneSpec(name=name) for name in backbone or []] or list(PAPER_BACKBONES)
    with steps() as progress:
        session = Session(setting, data, where, progress=progress, engine=Engine.fitting(where, workers, ray))
        made = Path(generator).expanduser() if generator not in ("", TRAIN) else None
        if generator == TRAIN:
            from attacks.generators import commands

            made = out_ / "generator.safetensors"
            if not made.exists():
                commands.train(
                    setting, data, out=made, seed=0, settings=settings(generator_set or []), features_of="none", every=5_000,
                    device=where, report=progress,
                )  # fmt: skip
        runs = run_paper(session, chosen, out_, lists=verification_lists(data), generator=made, reconstructions=reconstructions)
    document = {"track": setting.name, "protocol": setting.version, "runs": [run.document() for run in runs]}
    emit(document, json, lambda: _show(runs))


def _show(runs: list[PaperRun]) -> None:
    rows = []
    for run in runs:
        for attack in run.record.membership:
            if attack.status != "ok":
                rows.append([run.backbone, attack.knowledge, attack.status, attack.reason, "", ""])
            for contrast, result in attack.contrasts.items():
                cells = [number(result.metrics.get(name)) for name in MEASURES]
                rows.append([run.backbone, attack.knowledge, contrast.value, *cells])
    columns = ["backbone", "attacker knows", "contrast", "AUC", "advantage", "TPR@1 %FPR"]
    table("linear attack on the distances d_i [95 %]", columns, rows)
    lists = [
        [run.backbone, report.file, *(number(report.metrics[name], 4) for name in ("accuracy_10_fold", "tar@far=1e-2", "auc"))]
        for run in runs
        for report in run.lists
    ]
    if lists:
        table("verification lists", ["backbone", "list", "accuracy, 10 folds", "TAR@FAR=1e-2", "AUC"], lists)
    inverted = [
        [run.backbone, result.label, result.status if result.reason else str(result.images), result.reason]
        + [number(result.metrics.get(name)) for name in ("leakage", "distinct:member", "distinct:held_out")]
        for run in runs
        for result in run.inversion.results
    ]
    columns = ["backbone", "attack", "images", "why not", "members minus held-out", "members", "held-out people"]
    table("training identities rebuilt from nothing", columns, inverted)
    for run in runs:
        for name, text in run.hours().items():
            out.print(f"{run.backbone}, all of {name} at the speed measured here: {text}", markup=False, soft_wrap=True)
