"""``faceveil audit-model``: an audit of any model on any photos, as a table and as one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.output import Device, Json, emit, err, legend, number, numbered, out, pick_device, settings, steps, table
from benchmark.interfaces import Contrast, FaceVeilError

if TYPE_CHECKING:
    from benchmark.evaluation.audit.report import AuditReport, ExposedPhoto
    from benchmark.records.results import Metric

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
    from benchmark.evaluation.audit.report import QUESTIONS

    counts = ", ".join(f"{count} {what}" for what, count in report.photos.items())
    out.print(f"{report.name}: {counts}", style="bold", markup=False)
    for verdict in report.verdicts:
        out.print(f"{QUESTIONS[verdict.contrast]}: {verdict.text}", markup=False)
    rows = [[number(p.auc), "yes" if p.invalid else "no", p.contrast.value, p.classifier] for p in report.blind.probes]
    table("without the model", ["AUC [95 %]", "told apart", "contrast", "probe"], rows, whole=range(3))
    places = numbered(attack.label for attack in report.attacks if attack.status == "ok")
    for contrast in Contrast:
        _show_attacks(report, contrast, places)
    legend("attacks", places)
    for attack in report.attacks:
        if attack.status != "ok":
            out.print(f"{attack.label}: {attack.status.replace('_', ' ')}: {attack.reason}", markup=False, soft_wrap=True)
    _show_exposed(report.exposed, places)
    for note in report.notes:
        out.print(f"note: {note}", markup=False)


def _show_attacks(report: AuditReport, contrast: Contrast, places: Mapping[str, str]) -> None:
    """The attacks on one contrast in 80 columns, and below them why a rate is missing."""
    from benchmark.evaluation.audit.report import QUESTIONS

    metrics = {"auc": "AUC [95 %]", "tpr@fpr=1e-2": "TPR at 1 % FPR", "excess_over_blind": "AUC over blind"}
    rows: list[list[str]] = []
    missing: dict[str, str] = {}
    for attack in report.attacks:
        if contrast in attack.contrasts:
            found = attack.contrasts[contrast].metrics
            cells = [number(found.get(name)) if _measured(found.get(name)) else "–" for name in metrics]
            rows.append([*cells, places[attack.label]])
            missing |= {title: m.note for name, title in metrics.items() if (m := found.get(name)) and not _measured(m)}
    if rows:
        table(f"membership attacks: {QUESTIONS[contrast]}", [*metrics.values(), "attack"], rows, whole=range(4))
    for title, note in missing.items():
        out.print(f"{title}: {note or 'not measurable'}", markup=False)


def _measured(metric: Metric | None) -> bool:
    return metric is not None and metric.value is not None


def _show_exposed(photos: Sequence[ExposedPhoto], places: Mapping[str, str]) -> None:
    """The photos that stand out, a table for each set that they stand out against."""
    from benchmark.evaluation.audit.report import AGAINST

    for (contrast, count), group in groupby(photos, key=lambda p: (p.contrast, p.n_negative)):
        rows = [[f"{p.fpr:.2%}", f"{p.fpr_high:.2%}", places[p.attack], p.key] for p in group]
        title = f"most exposed photos, and how many of {count} {AGAINST[contrast]} score as high"
        table(title, ["score as high", "at most (95 %)", "attack", "photo"], rows, whole=range(3))


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
