"""``faceveil data preview | check | export``: look at faces, check them, take the members' photos out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.output import Json, emit, out, steps, table
from benchmark.interfaces import FaceVeilError

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
) -> None:
    """Draws a grid of a track's public (auxiliary) faces, one row per person."""
    from benchmark.data.preview import grid
    from benchmark.evaluation.session import open_track_data

    populations = open_track_data(track, data)
    grid(populations.auxiliary, people, photos, out_)
    out.print(f"wrote {out_}", markup=False)


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="Folder, zip, tar or .rec of aligned faces, identity/image.")],
    size: Annotated[int, typer.Option(help="Side length that photos must have, in pixels.")] = 112,
    json: Json = False,
) -> None:
    """Reads every image and names those that cannot be used."""
    from benchmark.data.readers.open import open_faces

    with steps() as progress:
        progress.step(f"reading {data}")
        report = open_faces(data, size).report
    document = {
        "people": report.people,
        "photos": report.photos,
        "people_are": report.note,
        "treated": dict(report.treated),
        "warnings": list(report.warnings),
        "skipped": [{"name": n, "reason": r} for n, r in report.skipped],
        "sizes": {str(k): v for k, v in report.sizes.items()},
    }

    def show() -> None:
        out.print(f"{report.people} people, {report.photos} usable photos, {len(report.skipped)} left out")
        if report.skipped:
            table("left out", ["file", "reason"], [list(s) for s in report.skipped[:50]])

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

    if role not in ROLES:
        raise FaceVeilError(f"no role {role!r} to export; one of {', '.join(ROLES)} (held-out people stay with the evaluator).")
    populations = open_track_data(track, data)
    photos = populations.role(role)
    with steps() as progress:
        progress.step(f"writing {len(photos)} photos")
        export_role(photos, out_)
    out.print(f"wrote {len(photos)} photos to {out_}", markup=False)


@app.command()
def align(
    data: Annotated[Path, typer.Argument(help="Folder, zip, tar or .rec of photos, identity/image.")],
    landmarks: Annotated[
        Path, typer.Option(help="CSV: path, x1, y1 .. x5, y5 (eyes, nose tip, corners of the mouth; pixels).")
    ],
    out_: Annotated[Path, typer.Option("--out", help="Folder to write; must not hold anything yet.")],
) -> None:
    """Moves photos to the 112 x 112 ArcFace template by five landmarks from any detector."""
    from benchmark.data.align import align as write_aligned
    from benchmark.data.align import read_landmarks
    from benchmark.data.readers.open import open_faces

    points = read_landmarks(landmarks)
    with steps() as progress:
        progress.step(f"aligning {data}")
        photos = open_faces(data, aligned=False)
        left_out = write_aligned(photos, points, out_)
    out.print(f"wrote {len(photos) - len(left_out)} photos to {out_}, left out {len(left_out)}", markup=False)
    if left_out:
        table("left out", ["photo", "reason"], [list(item) for item in left_out[:50]])
