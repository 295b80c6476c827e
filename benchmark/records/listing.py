"""A record in a line: what lists show, kept beside it in the store."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from benchmark.records.record import Record
from benchmark.records.results import Metric
from benchmark.records.runs import Run

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

    @staticmethod
    def of(run: Run) -> Summary:
        """The summary of a record in brief."""
        head = run.headline
        return Summary(
            name=run.name,
            team=run.team,
            defenses=run.defense_names,
            seed=run.seed,
            utility=_axis(head.utility if head else None),
            leakage=_axis(head.leakage if head else None),
            leakage_attack=head.leakage_attack if head else "",
            nothing_found=head.nothing_found if head else False,
            targets=head.targets if head else 1,
            unranked=run.unranked,
            flags=tuple(flag.name for flag in run.flags),
        )


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

    @staticmethod
    def of(name: str, record: Record) -> Listed:
        """A record that is in no store, by its permanent name."""
        return Listed(
            id=name,
            submission_id=record.provenance.submission_id,
            track=record.track,
            protocol_version=record.protocol_version,
            board=record.board,
            configuration=record.configuration,
            fingerprint=record.fingerprint,
            complete=record.complete,
            created=record.provenance.created,
            withdrawn=None,
            summary=Summary.of(Run.of(record)),
        )


def _axis(metric: Metric | None) -> Axis:
    return (metric.value, metric.low, metric.high, metric.n) if metric else (None, None, None, None)
