"""``faceveil panel | invert``: the judges of reconstructions, and inversion attacks judged by them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.evaluate import parse_attack
from benchmark.cli.output import Device, Json, check_out, emit, number, numbered, out, pick_device, steps, table
from benchmark.cli.submit import StoreOption
from benchmark.cli.train import Data, open_init
from benchmark.interfaces import FaceVeilError, Goal

if TYPE_CHECKING:
    from benchmark.protocol.track import Track
    from benchmark.records.results import InversionRecord, InversionResult, JudgeInfo
    from benchmark.submissions.submission import Submission

Judges = Annotated[
    list[Path] | None,
    typer.Option(
        "--judge",
        help="Another judge: a submission or checkpoint that never saw the track's people; on real faces two are the panel.",
    ),
]
TEMPLATE = ("type1_tar@far=1e-2", "gap:type1_tar@far=1e-2", "type2_tar@far=1e-2", "rank1", "fid")
IDENTITIES = ("leakage", "leakage@far=1e-3", "distinct:member", "distinct:held_out", "fid")


def opened(paths: Sequence[Path] | None) -> list[Submission]:
    """Submissions or public checkpoints that judge beside a track's own."""
    from benchmark.submissions.checkpoint_import import open_weights

    return [open_weights(path) for path in paths or []]


def show_judges(judges: Sequence[JudgeInfo]) -> None:
    """The panel as a table, and who the judges are."""
    rows = [[*(number(j.tar.get(far)) for far in ("1e-2", "1e-3")), j.name] for j in judges]
    table("judges", ["TAR@FAR=1e-2", "TAR@FAR=1e-3", "judge"], rows, whole=range(3))
    for j in judges:
        verdict = f"not eligible: {j.reason}" if j.reason else "eligible"
        out.print(f"{j.name}: {j.architecture}, trained on {j.trained_on}; {verdict}", markup=False, soft_wrap=True)


def show_inversion(found: InversionRecord) -> None:
    """The panel, and for each goal its attacks under the panel, with the attacked model's own verdict beside it."""
    show_judges(found.judges)
    for goal, title, names in (
        (Goal.TEMPLATE, "template to face, members", TEMPLATE),
        (Goal.TRAINING_IDENTITIES, "training identities from nothing", IDENTITIES),
    ):
        results = [r for r in found.results if r.goal == goal]
        if results:
            _show_goal(title, names, results)
    if found.leakage is not None:
        text = f"inversion leakage {number(found.leakage)} by {found.leakage_attack}: {found.leakage.note}"
        out.print(text, markup=False, soft_wrap=True)
    out.print(f"generator: {found.generator}", markup=False, soft_wrap=True)
    for reason in found.unranked:
        out.print(f"unranked: {reason}", markup=False, soft_wrap=True)


def _show_goal(title: str, names: Sequence[str], results: Sequence[InversionResult]) -> None:
    """Tables of three metrics each, which fit 80 columns, and below them the attacks with what they cost."""
    done = [result for result in results if result.status == "ok"]
    numbers = numbered(result.label for result in done)
    measured = {name for result in done for name in result.metrics}
    digits = {"fid": 1}
    shown = [name for name in (*names, "lpips") if name in measured]
    cells = {name: [number(result.metrics.get(name), digits.get(name, 3)) for result in done] for name in shown}
    cells["by the model"] = [number(result.target.get(names[0])) for result in done]
    out.print(title, style="bold")
    for start in range(0, len(cells) if done else 0, 3):
        part = dict(list(cells.items())[start : start + 3])
        rows = [[*row, numbers[result.label]] for *row, result in zip(*part.values(), done, strict=True)]
        table("", [*part, "attack"], rows, whole=range(len(part) + 1))
    if done:
        out.print(f"by the model: {names[0]} as the attacked model itself sees it", markup=False, soft_wrap=True)
    for result in done:
        label = result.label + (" (control)" if result.control else "")
        cost = f"{result.images} images, {result.seconds:.0f} s, {result.queries} queries"
        out.print(f"{numbers[result.label]:>4}  {label}: {cost}", markup=False, soft_wrap=True)
    for result in results:
        if result.status != "ok":
            out.print(f"{result.label}: {result.status.replace('_', ' ')}: {result.reason}", markup=False, soft_wrap=True)


def panel(
    track: Annotated[str, typer.Option(help="See `faceveil list tracks`.")],
    judge: Judges = None,
    data: Data = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Trains the track's missing judges and shows how well each one recognises."""
    from benchmark.evaluation.session import Session
    from benchmark.protocol.tracks import get_track

    own = opened(judge)
    with steps() as progress:
        session = Session(get_track(track), data, pick_device(device), progress=progress)
        judges = [j.info() for j in session.panel(own).judges]
    emit([j.model_dump(mode="json") for j in judges], json, lambda: show_judges(judges))


def invert(
    submission: Annotated[Path, typer.Argument(help="Submission folder or zip.")],
    track: Annotated[str, typer.Option(help="See `faceveil list tracks`.")],
    attacks: Annotated[str, typer.Option(help="Only these, comma-separated; name:key=value for settings.")] = "",
    targets: Annotated[int | None, typer.Option(min=1, help="Leaked templates of members (and as many of others).")] = None,
    reconstructions: Annotated[int | None, typer.Option(min=1, help="Images for the untargeted goal.")] = None,
    generator: Annotated[Path | None, typer.Option(help="The attacker's generator: .safetensors, .pkl or .pt.")] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="A backbone that the attacker holds, instead of one trained on public people.")
    ] = None,
    judge: Judges = None,
    lpips: Annotated[Path | None, typer.Option(help="Torchvision's AlexNet weights: measures LPIPS, too.")] = None,
    record: Annotated[Path | None, typer.Option(help="A record of this submission to put the result into.")] = None,
    out_: Annotated[Path | None, typer.Option("--out", help="Write the result (or the record) here.")] = None,
    gallery: Annotated[Path | None, typer.Option(help="Folder for pictures; synthetic tracks only.")] = None,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Put the result into this submission's record in the store, and pictures on the board."),
    ] = False,
    beside: Annotated[
        Path | None,
        typer.Option(help="Folder of record files: write the result, and pictures, beside them, where the board looks."),
    ] = None,
    store: StoreOption = None,
    data: Data = None,
    init: Annotated[Path | None, typer.Option(help="The weights a fine-tuned submission started from.")] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Rebuilds faces from a submission and has them judged; resumes an interrupted run."""
    from benchmark.evaluation.inversion.judgement import with_inversion
    from benchmark.evaluation.inversion.pictures import check_may_show
    from benchmark.evaluation.session import Session
    from benchmark.protocol.registry import build_inversion
    from benchmark.protocol.tracks import get_track
    from benchmark.runtime.atomic import write_text
    from benchmark.runtime.home import gallery_dir
    from benchmark.service.store import Store
    from benchmark.submissions.submission import load_submission

    # What would refuse the result comes before the work.
    setting, loaded = get_track(track), load_submission(submission)
    start, own_encoder, own_judges = open_init(init), open_init(encoder), opened(judge)
    chosen = [parse_attack(a) for a in attacks.split(",") if a] or None
    for spec in chosen or ():
        build_inversion(spec)
    check_out(out_, submission)
    if gallery is not None:
        check_may_show(setting)
    whole = _record_of(record, loaded) if record is not None else None
    if keep and whole is None:
        whole = Store(store).record(loaded.submission_id, track)
    folders = [gallery] if gallery is not None else []
    if keep and setting.shows_faces:
        folders.append(gallery_dir(loaded.submission_id))
    if beside is not None and setting.shows_faces:
        folders.append(beside / "galleries" / loaded.submission_id[:16])
    with steps() as progress:
        session = Session(setting, data, pick_device(device), init=start, progress=progress)
        evaluation = session.inversion(
            loaded,
            generator=generator,
            encoder=own_encoder,
            judges=own_judges,
            targets=targets,
            reconstructions=reconstructions,
            lpips=lpips,
        )
        found = evaluation.run(chosen)
        for folder in folders:
            _pictures(evaluation, found, folder)
    combined = None if whole is None else with_inversion(whole, found)
    if keep and combined is not None:
        Store(store).add_record(combined)
    if beside is not None:
        _put_beside(beside, loaded, setting, found)
    if out_ is not None:
        write_text(out_, (combined or found).model_dump_json(indent=1))
    emit(found.model_dump(mode="json"), json, lambda: show_inversion(found))


def _put_beside(folder: Path, submission: Submission, track: Track, found: InversionRecord) -> None:
    from benchmark.evaluation.inversion.judgement import attacks_of
    from benchmark.records.beside import InversionFile, write

    write(
        folder,
        InversionFile(
            submission_id=submission.submission_id,
            track=track.name,
            protocol_version=track.version,
            inversion=found,
            attacks=attacks_of(found),
        ),
    )


def _record_of(path: Path, submission: Submission) -> Any:
    from benchmark.records.reading import read_record

    record = read_record(path)
    if record.provenance.submission_id != submission.submission_id:
        raise FaceVeilError(f"{path} is the record of another submission; evaluate this one first, or leave out --record.")
    return record


def _pictures(evaluation: Any, found: InversionRecord, folder: Path) -> None:
    for result in (r for r in found.results if r.status == "ok" and not r.control):
        try:
            evaluation.gallery(result.spec, Goal(result.goal), 32, folder / f"{result.spec.name}-{result.goal}.png")
        except FaceVeilError as reason:
            out.print(str(reason), markup=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("panel")(panel)
    app.command("invert")(invert)
