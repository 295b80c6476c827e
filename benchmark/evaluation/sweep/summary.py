"""What a sweep found, a row per entry; and what is left of it, in minutes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmark.evaluation.sweep.file import SweepEntry
from benchmark.evaluation.sweep.sweep import DONE, SweepOutcome
from benchmark.interfaces import Contrast
from benchmark.protocol.tracks import get_track
from benchmark.protocol.variants import parse
from benchmark.records.record import Record
from benchmark.records.results import Metric

EVALUATION = 1.0  # trainings that an evaluation takes, where nothing was measured yet


def training_seconds(record: Record, kind: str = "seconds") -> float | None:
    """Seconds of training and release, as the card says: of a post-hoc entry those of its base and of its release.

    Args:
        kind: ``seconds``, or ``processor_seconds`` (of training alone), which other work on the machine disturbs less.
    """
    training = record.card.training
    if kind not in training:
        return None
    return float(training[kind]) + float(training.get("release_seconds", 0.0))


def times(record: Record, undefended: Record) -> float | None:
    """Training seconds of an entry over those of the undefended one; processor seconds where both records have them."""
    for kind in ("processor_seconds", "seconds"):
        own, plain = training_seconds(record, kind), training_seconds(undefended, kind)
        if own and plain:
            return round(own / plain, 2)
    return None


def rows(outcomes: Sequence[SweepOutcome]) -> list[dict[str, Any]]:
    """Plain data per entry; ``times_undefended`` compares training seconds with the undefended entry of the same sweep."""
    undefended = {o.entry.baseline: o.record for o in outcomes if o.record is not None and o.entry.defense.name == "undefended"}
    return [_row(o, undefended.get(o.entry.baseline)) for o in outcomes]


def _row(outcome: SweepOutcome, undefended: Record | None) -> dict[str, Any]:
    entry, record = outcome.entry, outcome.record
    row: dict[str, Any] = {
        "entry": entry.label,
        "track": entry.track.name,
        "seed": entry.seed,
        "status": outcome.status,
        "reason": outcome.reason,
    }
    if record is None:
        return row
    seconds, head = training_seconds(record), record.headline
    return row | {
        "utility": _triple(head.utility if head else None),
        "leakage": _triple(head.leakage if head else None),
        "leakage_by": f"{head.leakage_attack} ({head.leakage_contrast.value})" if head else "",
        "sample": _strongest(record, Contrast.SAMPLE),
        "identity": _strongest(record, Contrast.IDENTITY),
        "inversion": _triple(record.inversion.leakage if record.inversion else None),
        "training_seconds": seconds,
        "times_undefended": None if undefended is None else times(record, undefended),
        "evaluation_seconds": record.provenance.seconds,
        "claim": record.card.claim.model_dump() if record.card.claim else None,
        "unranked": list(record.unranked),
        "submission_id": record.provenance.submission_id,
    }


def _triple(metric: Metric | None) -> list[float | None] | None:
    return None if metric is None or metric.value is None else [metric.value, metric.low, metric.high]


def _strongest(record: Record, contrast: Contrast) -> dict[str, Any] | None:
    attack = record.strongest(contrast)
    metric = attack.contrasts[contrast].metrics.get("auc") if attack else None
    if attack is None or metric is None or metric.value is None:
        return None
    return {"attack": attack.label, "auc": _triple(metric), "n": metric.n}


def estimate(waiting: Sequence[SweepEntry], done: Iterable[SweepOutcome]) -> float:
    """Minutes that the entries will take on this machine, from those that are done, or else from the tracks' budgets.

    Counted are trainings (of the whole population and the attacker's own shadows; those that post-hoc defences share once) and
    evaluations.
    """
    measured = [o for o in done if o.status == DONE and o.record is not None]
    total, seen = 0.0, set()
    for entry in waiting:
        minutes = _training_minutes(entry, measured)
        first, last = entry.defense.split_post_hoc()
        base = (entry.baseline, str(first.key()) if first else "") if last else (entry.digest,)
        cost = _trainings(entry, measured)
        backbones = entry.track.population if entry.defense.trains_on_members else 1
        trainings = 0.0 if base in seen else cost * (backbones + entry.track.shadows.auxiliary)
        seen.add(base)
        total += minutes * trainings + _evaluation_minutes(entry, measured, minutes)
    return total


def _trainings(entry: SweepEntry, measured: Sequence[SweepOutcome]) -> float:
    """Undefended trainings that one of this entry takes, by what was measured of the same defences; 1 where nothing was."""
    plain = {o.entry.baseline: o.record for o in measured if o.entry.defense.name == "undefended"}
    found = []
    for o in measured:
        undefended = plain.get(o.entry.baseline)
        if o.record is not None and undefended is not None and o.entry.defense.name == entry.defense.name:
            found.append(times(o.record, undefended))
    known = [ratio for ratio in found if ratio]
    return sum(known) / len(known) if known else 1.0


def _training_minutes(entry: SweepEntry, measured: Sequence[SweepOutcome]) -> float:
    own = [
        training_seconds(o.record)
        for o in measured
        if o.record is not None and o.entry.track.name == entry.track.name and o.entry.defense.name == "undefended"
    ]
    known = [seconds for seconds in own if seconds]
    if known:
        return sum(known) / len(known) / 60
    track = entry.track
    base = get_track(parse(track.name)[0]) if "[" in track.name else track
    work = track.roles.seen * track.training.epochs / (base.roles.seen * base.training.epochs)
    return track.budget.cpu_minutes * work


def _evaluation_minutes(entry: SweepEntry, measured: Sequence[SweepOutcome], training: float) -> float:
    own = [o.record.provenance.seconds for o in measured if o.record is not None and o.entry.track.name == entry.track.name]
    return sum(own) / len(own) / 60 if own else EVALUATION * training
