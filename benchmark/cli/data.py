"""``faceveil data preview | check | pack | align | export``: look at faces, check them, write them in another form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from benchmark.cli.output import Device, Json, check_out, complain, emit, out, pick_device, steps, table
from benchmark.interfaces import FaceVeilError

if TYPE_CHECKING:
    from benchmark.data.check import Fit
    from benchmark.data.landmarks import Several

app = typer.Typer(help="Look at faces, check a data set, export the photos a submitter trains on.", no_args_is_help=True)
Data = Annotated[Path | None, typer.Option("--data", help="Folder, zip, tar or .rec of aligned faces, identity/image.")]
ROLES = ("members", "verification", "public", "auxiliary", "judges")


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="data")


@app.command()
def preview(
    out_: Annotated[Path, typer.Option("--out", help="PNG to write.")],
    track: Annotated[str, typer.Option(help="See `faceveil list tracks`.")] = "synthetic-64",
    data: Data = None,
    people: Annotated[int, typer.Option(min=1, max=64)] = 8,
    photos: Annotated[int, typer.Option(min=1, max=32, help="Photos per person.")] = 8,
    role: Annotated[str, typer.Option(help="members, verification, public, auxiliary or judges.")] = "auxiliary",
) -> None:
    """Draws a grid of a track's faces, by default the attacker's (auxiliary) ones, one row per person."""
    from benchmark.data.preview import grid
    from benchmark.evaluation.session import open_track_data

    _check_role(role)
    check_out(out_)
    grid(open_track_data(track, data).role(role), people, photos, out_)
    out.print(f"wrote {out_}", markup=False)


@app.command()
def check(
    data: Annotated[
        Path, typer.Argument(help="Folder, zip, tar, .rec or .bin; a folder with train.rec; #people=RULE may follow.")
    ],
    size: Annotated[
        int | None, typer.Option(help="Side length in pixels that photos are resized to; default: the most common one.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode a large RecordIO file.")] = 1,
    json: Json = False,
) -> None:
    """Reads every photo and every verification list, names what cannot be used, and says which tracks the set can serve.

    Exit code 1 where a verification list cannot be read.  What is damaged in a large RecordIO file is left out from then on.
    """
    from benchmark.data.check import check_set
    from benchmark.protocol.tracks import TRACKS
    from benchmark.runtime.home import cache_dir

    with steps() as progress:
        progress.step(f"reading {data}")
        found = check_set(data, size, tracks=list(TRACKS.values()), cache=cache_dir() / "photos", workers=workers)

    def show() -> None:
        report = found.report
        out.print(f"{found.path}: {found.kind}", markup=False, soft_wrap=True)
        if report is not None:
            low, median, high = found.photos_per_person
            out.print(report.describe(), markup=False, soft_wrap=True)
            out.print(f"photos a person: {low} to {high}, median {median:g}", markup=False)
        if found.stated:
            out.print(f"property: {found.stated}", markup=False, soft_wrap=True)
        if found.pairs:
            rows = [[p.file, str(p.pairs), str(p.same), p.problem] for p in found.pairs]
            table("verification lists", ["file", "pairs", "of one person", "problem"], rows)
        if found.tracks:
            rows = [[f.track, "yes" if f.complete else "scaled down" if f.people else "no", _people(f)] for f in found.tracks]
            table("tracks that it can serve", ["track", "serves", "people and photos, or why not"], rows)

    emit(found.document(), json, show)
    if any(not pairs.pairs for pairs in found.pairs):
        raise typer.Exit(1)


def _people(fit: Fit) -> str:
    return fit.reason or ", ".join(f"{name} {count}" for name, count in fit.people.items())


@app.command()
def pack(
    data: Annotated[Path, typer.Argument(help="Folder, zip or tar of aligned faces; #people=RULE may follow.")],
    out_: Annotated[Path, typer.Option("--out", help="Folder to write; must not hold anything yet.")],
    size: Annotated[
        int | None, typer.Option(help="Side length in pixels that photos are resized to; default: the most common one.")
    ] = None,
) -> None:
    """Writes a set of faces as RecordIO: train.rec, train.idx and property, as public sets are distributed."""
    from benchmark.data.pack import pack as write
    from benchmark.data.readers.open import open_faces
    from benchmark.runtime.home import cache_dir

    with steps() as progress:
        progress.step(f"reading {data}")
        photos = open_faces(data, size, cache=cache_dir() / "photos")
        progress.step(f"writing {len(photos)} photos")
        count = write(photos, out_)
    out.print(f"wrote {count} photos of {photos.report.people} people to {out_}", markup=False, soft_wrap=True)
    complain(photos.report.warnings)


@app.command()
def dedup(
    data: Annotated[Path, typer.Argument(help="Folder, zip, tar or .rec of aligned faces; #people=RULE may follow.")],
    model: Annotated[Path, typer.Option(help="Compares the faces: a submission or a public checkpoint.")],
    out_: Annotated[Path, typer.Option("--out", help="List to write; use it as --data 'PATH#without=LIST'.")],
    against: Annotated[
        list[Path] | None, typer.Option(help="A verification list (.bin) whose people must not be in the set. Repeat for more.")
    ] = None,
    same_person: Annotated[float, typer.Option(min=0, max=1, help="Cosine similarity above which two people are one.")] = 0.6,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Lists people and photos that appear under two names or on verification lists, so that splits can leave them out."""
    from collections import Counter

    from benchmark.data.duplicates import write_list
    from benchmark.evaluation.deduplication import deduplicate
    from benchmark.submissions.checkpoint_import import open_weights

    check_out(out_, model, *[path for path in (data, *(against or [])) if path.is_file()])
    with steps() as progress:
        photos, found = deduplicate(
            data,
            open_weights(model),
            against or [],
            same_person=same_person,
            device=pick_device(device),
            step=progress.step,
        )
    write_list(found, out_)
    kinds = Counter(d.reason.split("(")[0].strip() for d in found)
    document = {"photos": len(photos), "left_out": len(found), "list": str(out_), "reasons": dict(kinds.most_common(20))}

    def show() -> None:
        out.print(f"{len(found)} of {len(photos)} photos are left out by {out_}", markup=False, soft_wrap=True)
        if found:
            table("left out", ["photo", "reason"], [[d.key, d.reason] for d in found[:30]])

    emit(document, json, show)


@app.command()
def export(
    track: Annotated[str, typer.Option(help="See `faceveil list tracks`.")],
    out_: Annotated[Path, typer.Option("--out", help="Folder to write; must not hold anything yet.")],
    role: Annotated[
        str, typer.Option(help="members (their seen photos), verification, public, auxiliary or judges.")
    ] = "members",
    data: Data = None,
) -> None:
    """Writes the photos that a submitter trains on with their own code."""
    from benchmark.data.export import export_role
    from benchmark.evaluation.session import open_track_data

    _check_role(role)
    populations = open_track_data(track, data)
    photos = populations.role(role)
    with steps() as progress:
        progress.step(f"writing {len(photos)} photos")
        export_role(photos, out_)
    out.print(f"wrote {len(photos)} photos to {out_}", markup=False)


@app.command()
def align(
    data: Annotated[Path, typer.Argument(help="Folder, zip, tar or .rec of photos, identity/image.")],
    out_: Annotated[Path, typer.Option("--out", help="Folder to write; must not hold anything yet.")],
    landmarks: Annotated[
        Path | None,
        typer.Option(help="CSV of another detector: path, x1, y1 .. x5, y5 (eyes, nose tip, corners of the mouth; pixels)."),
    ] = None,
    several: Annotated[
        str, typer.Option(help="Photos of several faces: skip them, or take the largest or the most central face.")
    ] = "skip",
) -> None:
    """Moves photos to the 112 x 112 ArcFace template; finds the five landmarks itself, or reads them from a file."""
    from benchmark.data.align import align as write_aligned
    from benchmark.data.align import read_landmarks
    from benchmark.data.landmarks import Mtcnn, find_landmarks
    from benchmark.data.readers.open import open_faces

    if several not in ("skip", "largest", "central"):
        raise typer.BadParameter(f"--several takes skip, largest or central, got {several!r}")
    faceless: dict[str, str] = {}
    with steps() as progress:
        photos = open_faces(data, aligned=False)
        if landmarks is not None:
            points = read_landmarks(landmarks)
        else:
            progress.step(f"finding faces on {len(photos)} photos")
            points, without = find_landmarks(photos, Mtcnn(), several=cast("Several", several))
            faceless = dict(without)
            if not points:
                raise FaceVeilError(f"{data}: no photo with exactly one face among {len(photos)}; see --several.")
        progress.step(f"aligning {data}")
        left_out = write_aligned(photos, points, out_)
    left_out = [(key, faceless.get(key, reason)) for key, reason in left_out]
    skipped = [*photos.report.skipped, *left_out]
    out.print(f"wrote {len(photos) - len(left_out)} photos to {out_}, left out {len(skipped)}", markup=False)
    if skipped:
        table("left out", ["photo", "reason"], [list(item) for item in skipped[:50]])
        if len(skipped) > 50:
            out.print(f"and {len(skipped) - 50} more")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise FaceVeilError(
            f"no role {role!r} to look at; one of {', '.join(ROLES)} (held-out people stay with the evaluator)."
        )
