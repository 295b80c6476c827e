"""``faceveil unlearn``: whether people who withdraw are forgotten, judged against backbones that never saw them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.output import Device, Json, check_out, emit, err, number, out, pick_device, steps, table
from benchmark.cli.train import Data
from benchmark.interfaces import FaceVeilError

if TYPE_CHECKING:
    from attacks.forgetting import Forgetting

DEFAULT = "fine_tuning,gradient_ascent,random_labels,dispersion"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("unlearn")(unlearn)


def show_forgetting(found: Forgetting) -> None:
    """One row per method and share."""
    rows = [
        [row.method, f"{row.share:.0%}", f"{row.auc.n} {row.auc.unit}", number(row.auc), "yes" if row.forgotten else "no",
         f"{row.utility:.3f}", f"{row.utility_retrained:.3f}"]
        for row in found.rows
    ]  # fmt: skip
    columns = ["method", "leave", "n", "AUC against re-trained [95 %]", "forgotten", "TAR@FAR=1e-3", "re-trained"]
    table(f"{found.track}: {found.backbones} backbones of each kind, {found.statistic}, seed {found.seed}", columns, rows)
    out.print("forgotten: the whole interval lies from 0.47 to 0.53", markup=False)


def unlearn(
    track: Annotated[str, typer.Option(help="See `faceveil list tracks`.")],
    methods: Annotated[str, typer.Option(help="Comma-separated.")] = DEFAULT,
    shares: Annotated[str, typer.Option(help="Shares of the people who leave, comma-separated.")] = "0.01,0.05,0.2",
    backbones: Annotated[int, typer.Option(min=2, help="Backbones that unlearn, and as many re-trained without.")] = 4,
    statistic: Annotated[str, typer.Option(help="The statistic of each photo, as in `lira`.")] = "regrown_logit",
    seed: Annotated[int, typer.Option(help="Who leaves.")] = 0,
    data: Data = None,
    out_: Annotated[Path | None, typer.Option("--out", help="Write the result here as JSON, too.")] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Trains backbones with everybody, lets them unlearn some people, and compares with backbones trained without those."""
    from attacks.forgetting import METHODS, Study
    from attacks.shared.statistics import STATISTICS
    from benchmark.evaluation.session import open_track_data
    from benchmark.runtime.atomic import write_text
    from benchmark.runtime.home import cache_dir

    check_out(out_)
    chosen = [name.strip() for name in methods.split(",") if name.strip()]
    if wrong := [name for name in chosen if name not in METHODS]:
        raise FaceVeilError(f"no method {wrong[0]!r}; one of {', '.join(METHODS)}.")
    if statistic not in STATISTICS:
        raise FaceVeilError(f"no statistic {statistic!r}; one of {', '.join(STATISTICS)}.")
    try:
        parts = [float(share) for share in shares.split(",")]
    except ValueError:
        raise FaceVeilError(f"--shares {shares!r}: give numbers between 0 and 1, such as 0.01,0.05,0.2.") from None
    if not all(0 < share < 1 for share in parts):
        raise FaceVeilError(f"--shares {shares!r}: each lies between 0 and 1.")
    with steps() as progress:
        progress.step("opening the photos")
        populations = open_track_data(track, data)
        study = Study(
            populations, cache_dir() / "unlearning", backbones=backbones, statistic=statistic, seed=seed,  # type: ignore[arg-type]
            device=pick_device(device), step=progress.step,
        )  # fmt: skip
        found = study.run(chosen, parts)
    if out_ is not None:
        write_text(out_, found.model_dump_json(indent=1))
        err.print(f"  wrote {out_}", markup=False)
    emit(found.model_dump(mode="json"), json, lambda: show_forgetting(found))
