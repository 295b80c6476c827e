"""``faceveil train | validate | utility``: submissions, and how well they recognise people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.output import Device, Json, complain, emit, err, facts, number, out, pick_device, settings, steps, table
from benchmark.interfaces import BackboneSpec, FaceVeilError
from benchmark.runtime.unfinished import remove_abandoned

if TYPE_CHECKING:
    from benchmark.submissions.submission import Submission

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder, zip, tar or .rec of aligned faces, identity/image; #people=RULE may follow."),
]

Public = Annotated[
    Path | None,
    typer.Option(help="Aligned faces of others, for defences that train on public ones; default the track's."),
]


def open_init(path: Path | None) -> Submission | None:
    """The weights to start from: a submission, or a public checkpoint, which is imported first."""
    if path is None:
        return None
    from benchmark.submissions.checkpoint_import import open_weights

    return open_weights(path)


def refuse_overwriting(path: Path) -> None:
    """Raises where ``path`` holds something already; removes what killed commands left half-written beside it."""
    remove_abandoned(path.resolve().parent)
    if path.exists() and (path.is_file() or any(path.iterdir())):
        raise FaceVeilError(f"{path} exists and is not empty; choose another --out, or remove it first.")


def describe(submission: Submission, path: Path) -> dict[str, Any]:
    """What ``train`` and ``import`` report."""
    card = submission.card
    return {
        "out": str(path),
        "submission_id": submission.submission_id,
        "name": card.name,
        "defense": card.defense_label,
        "backbone": card.backbone.name,
        "embedding_size": card.embedding_size,
        "claim": card.claim.model_dump() if card.claim else None,
        "training": dict(card.training),
    }


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("train")(train)
    app.command("validate")(validate)
    app.command("utility")(utility)


def train(
    track: Annotated[str, typer.Option(help="See `faceveil list tracks`.")],
    out: Annotated[Path, typer.Option(help="Folder for the submission; must not hold anything yet.")],
    defense: Annotated[
        str, typer.Option("--defense", "--defence", help="See `faceveil list defenses`; several as first+second.")
    ] = "undefended",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, key=value; with several defences, defence.key=value. Repeat for more."),
    ] = None,
    number: Annotated[
        int, typer.Option(min=0, help="Which backbone of the entry's population; 0 is trained on the canonical split.")
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(help="Training seed (same seed, same weights); default: the number, as in populations.")
    ] = None,
    data: Data = None,
    public: Public = None,
    init: Annotated[Path | None, typer.Option(help="Weights to fine-tune: a submission, or a public checkpoint.")] = None,
    backbone: Annotated[str | None, typer.Option(help="A backbone other than the track's; any timm model works.")] = None,
    backbone_set: Annotated[list[str] | None, typer.Option(help="An argument of that backbone, key=value.")] = None,
    name: Annotated[str | None, typer.Option(help="Name on the card.")] = None,
    team: Annotated[str, typer.Option(help="Team on the card.")] = "anonymous",
    canaries: Annotated[
        int, typer.Option(min=0, help="Mix in canaries, each by a fair coin, for `faceveil audit`; makes it TRACK+canaries.")
    ] = 0,
    canary_unit: Annotated[str, typer.Option(help="photo: single photos; person: whole extra people.")] = "photo",
    canary_kind: Annotated[
        str, typer.Option(help="photo: mislabelled, blank, out_of_distribution, duplicated. person: natural, mislabelled.")
    ] = "",
    canary_seed: Annotated[
        int | None, typer.Option(help="Seed of canaries and coin flips; default: --seed, which the card shows.")
    ] = None,
    accumulate: Annotated[int, typer.Option(min=1, help="Parts that a batch is split into, to save memory.")] = 1,
    checkpoint_steps: Annotated[int, typer.Option(min=0, help="Steps between checkpoints within an epoch; 0: none.")] = 0,
    loaders: Annotated[int, typer.Option(min=0, help="Processes that decode photos ahead; the order does not change.")] = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Trains a defended backbone on a track's members and writes a submission.

    Run the same command again to resume from the last checkpoint. On several GPUs (or processes):
    torchrun --nproc-per-node 2 -m benchmark.cli train ...
    """
    from benchmark.evaluation.audit.canaries import canary_path, draw_canaries, make_plan
    from benchmark.evaluation.session import Session
    from benchmark.protocol.tracks import get_track, with_canaries
    from benchmark.training.build import check_on, training_track
    from benchmark.training.composition import compose, parse_defenses
    from benchmark.training.scale import Scale, joined, scaled

    refuse_overwriting(out)
    if backbone_set and backbone is None:
        raise FaceVeilError("--backbone-set gives arguments to --backbone NAME; name one (see `faceveil list backbones`).")
    specs = parse_defenses(defense, settings(set_ or []))
    network = BackboneSpec(name=backbone, kwargs=settings(backbone_set or [])) if backbone else None
    seed = number if seed is None else seed
    if canaries and number:
        raise FaceVeilError("canaries are mixed into number 0, which an audit looks at; leave out --number.")
    plan = make_plan(canary_unit, canary_kind, canaries, seed if canary_seed is None else canary_seed) if canaries else None
    setting, start = with_canaries(get_track(track)) if plan else get_track(track), open_init(init)
    roles = setting.roles  # those of the data may be fewer: checked again where they are known
    check_on(
        compose(specs),
        training_track(setting, network, start),
        roles.members * roles.seen,
        1 if public else roles.public,
        initialised=start is not None,
    )
    where, scale = pick_device(device), Scale(accumulate, checkpoint_steps, loaders)
    with steps() as progress, joined(where) as (group, where), scaled(scale):
        session = Session(setting, data, where, init=start, public=public, progress=progress)
        complain(() if group.rank else session.populations.warnings)
        card = {"team": team} | ({"name": name} if name else {})
        mixed_in = draw_canaries(session.populations, plan) if plan else None
        submission = session.train(specs, seed, out, card=card, backbone=network, canaries=mixed_in, number=number)
    if group.rank:
        return  # the first process has written it, and reports
    report = describe(submission, out)
    if plan:
        report["canaries"] = {**plan.model_dump(), "secret": str(canary_path(out))}
    emit(report, json, lambda: facts(report))


def validate(path: Annotated[Path, typer.Argument(help="Submission folder or zip.")], json: Json = False) -> None:
    """Checks a submission and reports every problem at once, each with its remedy."""
    from benchmark.submissions.validation import validate as check

    report = check(path)
    rows = [[p.code, p.message, p.remedy] for p in report.problems]
    flags = [[f.name, f.severity, f.reason] for f in report.flags]

    def show() -> None:
        if rows:
            table(f"{path}: refused", ["problem", "what", "remedy"], rows)
        else:
            out.print(f"[bold green]valid[/] {path}")
        if flags:
            table("red flags", ["flag", "severity", "reason"], flags)

    document = {
        "path": str(path),
        "valid": not rows,
        "problems": [{"code": c, "message": m, "remedy": r} for c, m, r in rows],
        "flags": [{"name": n, "severity": s, "reason": r} for n, s, r in flags],
    }
    emit(document, json, show)
    if rows:
        raise typer.Exit(1)


def utility(
    submission: Annotated[Path, typer.Argument(help="Submission folder or zip.")],
    data: Data = None,
    pairs: Annotated[
        list[Path] | None, typer.Option(help="A list of verification pairs, such as lfw.bin or cfp_fp.bin. Repeat for more.")
    ] = None,
    flip: Annotated[
        bool,
        typer.Option("--flip", help="With --pairs: add the embedding of the mirrored photo, as published figures often do."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of folds, galleries and intervals.")] = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Verification figures of a submission on any set of aligned faces, or on published lists of pairs."""
    if (data is None) == (not pairs):
        raise typer.BadParameter("give either --data PATH (all pairs of a set of faces) or --pairs FILE (a list of pairs)")
    if data is not None:
        _utility_of_people(submission, data, seed, pick_device(device), json)
        return
    from benchmark.evaluation.verification_pairs import recognise_pairs

    with steps() as progress:
        reports = recognise_pairs(submission, pairs or [], flip=flip, seed=seed, device=pick_device(device), step=progress.step)
    for report in reports:
        _complain(report.skipped, report.warnings)
    document = {
        "seed": seed,
        "flip": flip,
        "lists": [
            {
                "file": r.file,
                "pairs": r.pairs,
                "same": r.same,
                "skipped": [list(s) for s in r.skipped],
                "warnings": list(r.warnings),
                "metrics": {k: m.model_dump(mode="json") for k, m in r.metrics.items()},
            }
            for r in reports
        ],
    }

    def show() -> None:
        for r in reports:
            rows = [[name, number(m, 4), f"{m.n} folds"] for name, m in r.metrics.items()]
            table(f"{r.file}: {r.pairs} pairs, {r.same} of one person", ["metric", "value [95 %]", "n"], rows)

    emit(document, json, show)


def _complain(skipped: Sequence[tuple[str, str]], warnings: Sequence[str]) -> None:
    """Reports on stderr what was left out, and what may be wrong with a data set."""
    if skipped:
        err.print(f"left out {len(skipped)} files, such as {skipped[0][0]}: {skipped[0][1]}", markup=False, soft_wrap=True)
    complain(warnings)


def _utility_of_people(submission: Path, data: Path, seed: int, device: str, json: bool) -> None:
    from benchmark.evaluation.recognition import recognise

    with steps() as progress:
        report = recognise(submission, data, seed=seed, device=device, step=progress.step)
    _complain(report.skipped, report.warnings)
    for done, count in report.treated.items():
        err.print(f"{count} photos of {done}", markup=False, soft_wrap=True)
    rows = [[name, number(m, 4), str(m.n), m.unit] for name, m in report.metrics.items()]
    document = {
        "photos": report.photos,
        "people": report.people,
        "people_are": report.note,
        "seed": seed,
        "skipped": [list(s) for s in report.skipped],
        "treated": dict(report.treated),
        "warnings": list(report.warnings),
        "metrics": {k: m.model_dump(mode="json") for k, m in report.metrics.items()},
    }
    title = f"{report.people} people, {report.photos} photos ({report.note})"
    emit(document, json, lambda: table(title, ["metric", "value [95 %]", "n", "of"], rows))
