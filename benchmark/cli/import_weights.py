"""``faceveil import``: a public network, by its weights or as ONNX, as a submission."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.output import Json, emit, err, facts, steps, table
from benchmark.cli.train import describe, refuse_overwriting
from benchmark.interfaces import FaceVeilError

if TYPE_CHECKING:
    from benchmark.evaluation.input_check import Candidate
    from benchmark.models.imported import Fed, Imported


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("import")(import_)


def import_(
    weights: Annotated[Path, typer.Argument(help="A public network: .onnx, .safetensors, or what torch.save wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the submission; must not hold anything yet.")],
    name: Annotated[str | None, typer.Option(help="Name on the card.")] = None,
    track: Annotated[str, typer.Option(help="Track on the card.")] = "faces-112",
    check: Annotated[
        Path | None,
        typer.Option(help="Aligned faces, identity/image: tries every way of feeding the network and keeps the best."),
    ] = None,
    normalise: Annotated[
        str | None, typer.Option(help="How pixels are scaled: centred, centred128, unit, bytes or imagenet.")
    ] = None,
    order: Annotated[str | None, typer.Option(help="Order of the channels: RGB or BGR.")] = None,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH of the photos, where the file leaves it open.")] = None,
    keep_onnx: Annotated[bool, typer.Option("--keep-onnx", help="Pack an ONNX file as it is, as model.onnx.")] = False,
    output: Annotated[str | None, typer.Option(help="For an ONNX file: which output is the embedding.")] = None,
    json: Json = False,
) -> None:
    """Turns a public FR network into a submission; no code of the file ever runs."""
    from benchmark.models.checkpoints import import_checkpoint
    from benchmark.submissions.checkpoint_import import pack_imported

    refuse_overwriting(out)
    fed = _fed(normalise, order, size, output)
    with steps() as progress:
        progress.step(f"reading {weights}")
        imported = import_checkpoint(weights, fed)
        found = _checked(imported, check, progress.step) if check else []
    notes = list(imported.notes)
    if found:
        imported, verdict = _best(imported, found)
        notes.append(verdict)
    notes += _norm_notes(imported)
    submission = pack_imported(imported, weights, out, name=name or weights.stem, track=track, keep_onnx=keep_onnx)
    report = {**describe(submission, out), "input": imported.input.model_dump(mode="json"), "notes": notes}
    if found:
        report["check"] = [_measured(candidate) for candidate in found]
    emit(report, json, lambda: _show(report))
    if imported.guessed and not found:
        err.print(
            f"How photos are fed is a guess; measure it: faceveil import {weights} --out OTHER --check FACES", markup=False
        )


def _fed(normalise: str | None, order: str | None, size: str | None, output: str | None) -> Fed:
    from benchmark.models.imported import Fed, input_spec

    if normalise is not None:
        input_spec(normalise, (112, 112))  # refuses an unknown name
    if order is not None and order.upper() not in ("RGB", "BGR"):
        raise FaceVeilError(f"--order {order}: RGB or BGR.")
    sides = None
    if size is not None:
        height, _, width = size.lower().partition("x")
        if not (height.isdecimal() and width.isdecimal()):
            raise FaceVeilError(f"--size {size}: give HEIGHTxWIDTH in pixels, such as 112x112.")
        sides = int(height), int(width)
    return Fed(normalise, None if order is None else order.upper(), sides, output)  # type: ignore[arg-type]


def _checked(imported: Imported, data: Path, step: Any) -> list[Candidate]:
    from benchmark.data.readers.open import open_faces
    from benchmark.evaluation.input_check import check_inputs
    from benchmark.runtime.home import cache_dir

    return check_inputs(imported, open_faces(data, cache=cache_dir() / "photos"), step=step)


def _best(imported: Imported, found: list[Candidate]) -> tuple[Imported, str]:
    """The import with the best way of feeding it, and what to say about that."""
    from dataclasses import replace

    best = found[0]
    usual = next((c for c in found if c.input == imported.input), None)
    verdict = f"fed as {best.normalisation}, {best.order}: the best of {len(found)} ways on {best.photos} photos"
    if usual is not None and not imported.guessed and usual.separation[0] >= best.separation[0]:
        best = usual
        verdict = f"fed as {best.normalisation}, {best.order}, as its layout says: no other of {len(found)} ways is better"
    return replace(imported, input=best.input, guessed=False), verdict


def _measured(candidate: Candidate) -> dict[str, Any]:
    return {
        "normalise": candidate.normalisation,
        "order": candidate.order,
        "auc": candidate.auc,
        "tar@far=1e-3": candidate.tar,
        "d_prime": candidate.d_prime,
    }


def _norm_notes(imported: Imported) -> list[str]:
    """Which attacks use the BatchNorm layers that are left."""
    from benchmark.protocol import registry

    names = []
    for name, plugin in sorted(registry.membership_attacks().items()):
        if any(request.compared_with == "stored" for request in plugin().requests()):
            names.append(name)
    left, _ = imported.batchnorms
    if not names:
        return []
    if left:
        return [f"attacks that read the {left} BatchNorm layers: {', '.join(names)}"]
    return [f"attacks that need BatchNorm statistics are not applicable: {', '.join(names)}"]


def _show(report: dict[str, Any]) -> None:
    facts({key: value for key, value in report.items() if key != "check"})
    if "check" in report:
        columns = list(report["check"][0])
        rows = [[f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()] for row in report["check"]]
        table("ways of feeding it, best first", columns, rows)
