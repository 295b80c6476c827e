"""``faceveil audit-model``: an audit of any model on any photos, as a table and as one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.output import Device, Json, emit, err, number, out, pick_device, settings, steps, table
from benchmark.interfaces import FaceVeilError

if TYPE_CHECKING:
    from benchmark.evaluation.audit.report import AuditReport

Backbone = Annotated[str, typer.Option(help="The weights are those of this timm model, rather than of a known layout.")]
BackboneSet = Annotated[list[str] | None, typer.Option(help="An argument of that model, key=value. Repeat for more.")]
Mean = Annotated[str, typer.Option(help="What is subtracted from images in 0..1, where the file does not say: one or three.")]
Std = Annotated[str, typer.Option(help="What they are then divided by.")]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("audit-model")(audit_model)


def numbers(text: str, option: str) -> list[float]:
    """One number, or three separated by commas.

    Raises:
        typer.BadParameter: anything else.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 3):
        raise typer.BadParameter(f"{option} takes one number or three separated by commas, got {text!r}")
    return values * 3 if len(values) == 1 else values


def show_report(report: AuditReport) -> None:
    """Verdicts, blind probes and attacks as tables."""
    from benchmark.evaluation.audit.report import AGAINST, QUESTIONS

    counts = ", ".join(f"{count} {what}" for what, count in report.photos.items())
    out.print(f"{report.name}: {counts}", style="bold", markup=False)
    for verdict in report.verdicts:
        out.print(f"{QUESTIONS[verdict.contrast]}: {verdict.text}", markup=False)
    rows = [[p.classifier, p.contrast.value, number(p.auc), "yes" if p.invalid else "no"] for p in report.blind.probes]
    table("without the model", ["probe", "contrast", "AUC [95 %]", "tells them apart"], rows)
    rows = []
    for attack in report.attacks:
        if attack.status != "ok":
            rows.append([attack.label, attack.status.replace("_", " "), attack.reason, "", ""])
        for contrast, found in attack.contrasts.items():
            cells = [number(found.metrics.get(k)) for k in ("auc", "tpr@fpr=1e-2", "excess_over_blind")]
            rows.append([attack.label, contrast.value, *cells])
    table("membership attacks", ["attack", "contrast", "AUC [95 %]", "TPR@1 %FPR", "AUC over blind"], rows)
    if report.exposed:
        exposed = [
            [p.key, p.attack, f"{p.fpr:.2%}", f"{p.fpr_high:.2%} of {p.n_negative} {AGAINST[p.contrast]}"]
            for p in report.exposed
        ]
        table("most exposed photos", ["photo", "attack", "others that score as high", "at most (95 %)"], exposed)
    for note in report.notes:
        out.print(f"note: {note}", markup=False)


def audit_model(
    weights: Annotated[Path, typer.Argument(help="A submission, a public checkpoint, or weights of a timm model.")],
    members: Annotated[
        Path, typer.Option(help="Photos that it was trained on: folder, zip, tar or .rec; one folder a person.")
    ],
    nonmembers: Annotated[Path, typer.Option(help="Photos that it was not trained on, of the same origin.")],
    report: Annotated[Path | None, typer.Option(help="Write one self-contained page here (.html).")] = None,
    shadow: Annotated[
        list[Path] | None, typer.Option(help="A model of the kind that was trained on none of these photos. Repeat for more.")
    ] = None,
    public: Annotated[Path | None, typer.Option(help="Photos from which the attacker estimates feature statistics.")] = None,
    attacks: Annotated[str, typer.Option(help="Only these, comma-separated; name:key=value for settings.")] = "",
    known: Annotated[float, typer.Option(help="Share of the people whose membership the attacker knows.")] = 0.5,
    backbone: Backbone = "",
    backbone_set: BackboneSet = None,
    mean: Mean = "0.5",
    std: Std = "0.5",
    seed: Annotated[int, typer.Option(help="Seed of the choice of known people, and of every interval.")] = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Audits any model on photos of yours, without a track: blind probes first, then every attack that applies."""
    from benchmark.evaluation.audit.model_audit import audit
    from benchmark.evaluation.audit.model_files import open_model
    from benchmark.evaluation.audit.observations import AuditShadow

    if report is not None and report.suffix != ".html":
        raise FaceVeilError(f"--report {report}: the page is HTML; give a name that ends in .html.")
    opened = open_model(weights, backbone, settings(backbone_set or []))
    spec = opened.input
    with steps() as progress:
        found = audit(
            opened.module,
            members=members,
            nonmembers=nonmembers,
            shadows=[AuditShadow(open_model(s, backbone, settings(backbone_set or [])).module) for s in shadow or ()],
            public=public,
            mean=spec.mean if spec else numbers(mean, "--mean"),
            std=spec.std if spec else numbers(std, "--std"),
            input_size=spec.size if spec else None,
            attacks=[a for a in attacks.split(",") if a] or None,
            known=known,
            seed=seed,
            device=pick_device(device),
            name=weights.name,
            progress=progress.step,
        )
    found = found.model_copy(update={"notes": (*opened.notes, *found.notes)})
    if report is not None:
        found.to_html(report)
        err.print(f"  wrote {report}", markup=False)
    emit(found.model_dump(mode="json"), json, lambda: show_report(found))
