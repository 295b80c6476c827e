"""A record in a line: what lists show, kept beside it in the store."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from benchmark.records.record import Record
from benchmark.records.results import Metric

Axis = tuple[float | None, float | None, float | None, int | None]  # value, ends of the 95 % interval, n


class Summary(BaseModel):
    """What is kept in ``records.summary``; every field has a default, so that older rows can be read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    team: str = ""
    defenses: tuple[str, ...] = ()
    seed: int = 0
    utility: Axis = (None, None, None, None)
    leakage: Axis = (None, None, None, None)
    leakage_attack: str = ""
    nothing_found: bool = False
    targets: int = 1
    unranked: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


class Listed(BaseModel):
    """A record in a list: where it stands, and its summary."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    submission_id: str
    track: str
    protocol_version: str
    board: str
    configuration: str
    fingerprint: str  # changes with the record's numbers
    complete: bool
    created: str
    withdrawn: str | None
    summary: Summary


def summarise(record: Record) -> Summary:
    """The summary of a record."""
    head = record.headline
    return Summary(
        name=record.card.name,
        team=record.card.team,
        defenses=tuple(d.name for d in record.card.defenses),
        seed=record.card.seed,
        utility=_axis(head.utility if head else None),
        leakage=_axis(head.leakage if head else None),
        leakage_attack=head.leakage_attack if head else "",
        nothing_found=head.nothing_found if head else False,
        targets=head.targets if head else 1,
        unranked=record.unranked,
        flags=tuple(flag.name for flag in record.flags),
    )


def _axis(metric: Metric | None) -> Axis:
    return (metric.value, metric.low, metric.high, metric.n) if metric else (None, None, None, None)
