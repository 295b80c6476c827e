"""``faceveil bench membership``: what the signals of membership attacks cost."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from benchmark.cli.output import Device, Json, emit, out, pick_device, table


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("membership")(membership)


def membership(
    backbone: Annotated[str, typer.Option(help="See `faceveil list backbones`.")] = "iresnet_slim",
    size: Annotated[int, typer.Option(min=16, help="Height and width of the photos.")] = 64,
    photos: Annotated[int, typer.Option(min=8, help="Photos per pass; the growth is measured with ten times as many.")] = 128,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; each runs every way once.")] = 10,
    attacks: Annotated[str, typer.Option(help="Attacks whose signals are measured, comma-separated; default all.")] = "",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Times the BN pass, and all attacks' signals together, beside plain passes; fitting and shadows are not part of it."""
    import torch

    from benchmark.evaluation.membership.evidence import requested
    from benchmark.interfaces import AttackSpec
    from benchmark.protocol.registry import build_attack, membership_attacks
    from benchmark.signals.bench import growth, measure_signals, untrained_target

    names = [a for a in attacks.split(",") if a] or sorted(membership_attacks())
    requests = requested(build_attack(AttackSpec(name=name)) for name in names)
    target = untrained_target(backbone, size, pick_device(device))
    timings, union = measure_signals(target, requests, photos, rounds)
    grown = growth(target, requests, photos)
    document: dict[str, Any] = {
        "backbone": backbone, "size": size, "photos": photos, "rounds": rounds, "device": str(target.device),
        "threads": torch.get_num_threads(), "attacks": names, "signals": [r.key for r in union],
        "left_out": [r.key for r in requests if r not in union],
        "timings": [asdict(t) for t in timings], "growth": asdict(grown),
    }  # fmt: skip

    def show() -> None:
        rows = [[t.way, f"{t.seconds:.3f}", t.beside, f"{t.relative:.3f}", f"{t.cpu_relative:.3f}"] for t in timings]
        title = f"{backbone}, {size} px, {photos} photos, {len(union)} signals: median of {rounds} rounds"
        table(title, ["what", "seconds", "beside", "relative", "relative, processor"], rows)
        out.print(
            f"10x the photos: {grown.time_ratio:.2f}x the time, memory above that of the process "
            f"{grown.peak_few_mb:.0f} MiB, then {grown.peak_many_mb:.0f} MiB; {torch.get_num_threads()} thread(s)"
        )

    emit(document, json, show)
