"""``faceveil rotate``: every shadow of a track takes its turn as the target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.evaluate import parse_attack, with_shadows
from benchmark.cli.output import Device, Json, Ray, Workers, emit, err, number, out, pick_device, steps, table
from benchmark.cli.train import Data

if TYPE_CHECKING:
    from benchmark.evaluation.membership.rotation import Rotation

DEFAULT = "regrown_head:knowledge=query_pool,regrown_head,bn_lira,bn_distance,lira:statistic=head_logit"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("rotate")(rotate)


def show_rotation(found: Rotation) -> None:
    """An attack a row."""
    rows = []
    for turn in found.turns:
        m, low, high = turn.pooled.metrics, min(turn.auc_by_target), max(turn.auc_by_target)
        figures = [number(m[name]) for name in ("auc", "tpr@fpr=1e-2", "tpr@fpr=1e-3")]
        counts = f"{turn.pooled.n_positive} against {turn.pooled.n_negative}, {turn.pooled.people} people"
        rows.append([turn.spec.label, str(turn.shadows), *figures, f"{low:.3f} to {high:.3f}", counts])
    columns = ["attack", "shadows", "AUC [95 %]", "TPR@1 %FPR", "TPR@0.1 %FPR", "AUC by target", "photos"]
    table(f"{found.track}: {found.targets} undefended targets in turn, seen against unseen photos", columns, rows)
    for label, reason in found.left_out.items():
        out.print(f"left out, {label}: {reason}", markup=False)


def rotate(
    track: Annotated[str, typer.Option(help="See `faceveil list tracks`.")],
    attacks: Annotated[str, typer.Option(help="Comma-separated; name:key=value for settings.")] = DEFAULT,
    shadows: Annotated[str, typer.Option(help="How many backbones take turns, such as photos=18; default the track's.")] = "",
    data: Data = None,
    out_: Annotated[Path | None, typer.Option("--out", help="Write the result here as JSON, too.")] = None,
    workers: Workers = None,
    ray: Ray = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Attacks each of a track's undefended shadow backbones with the others, for rates that one target is too small for."""
    from benchmark.data.populations import open_populations
    from benchmark.evaluation.membership.rotation import Rotator, check_turns
    from benchmark.protocol.registry import build_attack
    from benchmark.protocol.tracks import get_track
    from benchmark.runtime.atomic import write_text
    from benchmark.runtime.executor import Engine
    from benchmark.runtime.home import cache_dir
    from benchmark.training.build import UNDEFENDED
    from benchmark.training.shadows import ShadowPool

    specs = [parse_attack(a) for a in attacks.split(",") if a]
    for spec in specs:
        build_attack(spec)  # first, so that a wrong name costs nothing
    setting, where, cache = with_shadows(get_track(track), shadows), pick_device(device), cache_dir()
    check_turns(setting.shadows.photos)
    with steps() as progress:
        progress.step("opening the photos")
        populations = open_populations(setting, data, cache / "photos")
        pool = ShadowPool(populations, cache / "shadows", where)
        recipes = pool.recipes("photos", UNDEFENDED, setting.backbone)
        pool.train_missing(recipes, Engine.fitting(where, workers, ray), progress.step)
        backbones = list(pool.query_pool("photos", setting.backbone, progress=progress.training))
        found = Rotator(populations, backbones, cache, where, progress.step).run(specs)
    if out_ is not None:
        write_text(out_, found.model_dump_json(indent=1))
        err.print(f"  wrote {out_}", markup=False)
    emit(found.model_dump(mode="json"), json, lambda: show_rotation(found))
