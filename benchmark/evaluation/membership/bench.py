"""Many queries: what memory the photos, the signals and the attacks on one backbone take, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmark.data.bench import A_PERSON, drawn
from benchmark.data.pack import write_records
from benchmark.data.populations import Populations, open_populations
from benchmark.evaluation.membership.evidence import gather
from benchmark.evaluation.membership.score_metrics import contrast_metrics
from benchmark.evaluation.membership.scores import score_target
from benchmark.interfaces import AttackSpec, BackboneSpec, FaceVeilError
from benchmark.protocol.registry import build_attacks
from benchmark.protocol.track import Budget, Roles, ShadowBudget, Track, TrainingConfig
from benchmark.runtime.memory import peak_memory
from benchmark.signals.bench import untrained_target

T = TypeVar("T")

OTHERS = 20  # people beside the pool: the track's other roles want some


@dataclass(frozen=True)
class Stage:
    """``grew_mb``: the most memory (MiB, files that are mapped counted in) above what the process held before."""

    name: str
    seconds: float
    grew_mb: float


def measure(
    folder: Path, queries: int, attacks: Sequence[AttackSpec], backbone: str, size: int, device: str = "cpu"
) -> tuple[int, list[Stage]]:
    """Writes a RecordIO file below ``folder`` and attacks an untrained backbone that is asked about all of its photos.

    Args:
        attacks: those that need no shadow backbones.

    Returns:
        How many photos are asked about (a whole number of people), and the stages.

    Raises:
        FaceVeilError: an attack that cannot run here.
    """
    alone = build_attacks(attacks)
    for spec, attack in zip(attacks, alone, strict=True):
        if attack.knowledge.uses_shadows:
            raise FaceVeilError(f"attack {spec.label} needs shadow backbones, and none are trained here; choose another.")
    target = untrained_target(backbone, size, device)
    people = max(16, queries // A_PERSON)
    write_records(folder / "set", drawn((people + OTHERS) * A_PERSON, size), size=(size, size))
    track = _track(people, backbone, size)
    stages: list[Stage] = []

    def opened() -> Populations:
        populations = open_populations(track, folder / "set" / "train.rec", folder / "photos")
        _ = populations.queried, populations.side, populations.labelled
        return populations

    populations = _timed(stages, "photos opened", opened)
    evidence = _timed(stages, "signals", lambda: gather(target, populations, alone, cache=folder / "signals"))
    for spec in attacks:
        found = score_target(spec, evidence)
        if found.status != "ok":
            raise FaceVeilError(f"attack {spec.label}: {found.reason or 'no result'}")
        stages.append(Stage(spec.label, found.seconds, found.peak_memory_mb))
    scores = next(iter(found.scores.values()))
    _timed(stages, "metrics with intervals", lambda: contrast_metrics(scores, blind=0.5, seed=0))
    return len(populations.queried), stages


def _timed(stages: list[Stage], name: str, run: Callable[[], T]) -> T:
    started = time.perf_counter()
    with peak_memory() as memory:
        result = run()
    stages.append(Stage(name, time.perf_counter() - started, memory.mb))
    return result


def _track(people: int, backbone: str, size: int) -> Track:
    return Track(
        name="bench",
        summary="Many queries.",
        source="folder",
        image_size=size,
        roles=Roles(pool=people, photos=A_PERSON, verification=4, auxiliary=8, judges=2),
        backbone=BackboneSpec(name=backbone),
        training=TrainingConfig(),
        shadows=ShadowBudget(auxiliary=0),
        attacks=(),
        budget=Budget(cpu_minutes=1),
        conclusive=False,
    )
