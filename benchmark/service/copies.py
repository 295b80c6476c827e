"""Near copies among what was submitted: weights that differ from others in rounding, in noise, or by a rotation."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.interfaces import content_hash
from benchmark.service.jobs import State
from benchmark.service.tables import JobRow, ProbeRow, TeamRow
from benchmark.service.teams import LOCAL
from benchmark.submissions.card import Card
from benchmark.submissions.problems import Problem, shown
from benchmark.submissions.report import Flag, Report

# In units of the signatures' spread.  Independent trainings: 1.2 and more, untrained networks too.  One float moved by one ulp,
# half precision, or a rotated embedding: 0.001; noise of 1 % on every parameter: 0.03, of 10 %: 0.3; of half a deviation on the
# BatchNorm means: 0.6.
COPY, COPY_OF_ONE_START, NEAR = 0.3, 0.02, 0.9


@dataclass(frozen=True)
class Neighbour:
    """The nearest of what was submitted before."""

    distance: float
    job: str
    team: str
    own: bool  # of the same team
    same_configuration: bool
    seed: int


def configuration_of(card: Card) -> str:
    """What was trained, as the card says, without its seed."""
    data = card.model_dump(mode="json", include={"track", "defenses", "backbone", "inference", "initialised_from"})
    return content_hash(data, length=64)


def remember(session: Session, job: JobRow, report: Report) -> None:
    """Keeps the signature of a job that passed its checks."""
    if report.probes and report.card is not None:
        row = ProbeRow(
            job_id=job.id, signature=report.probes, configuration=configuration_of(report.card), seed=report.card.seed
        )
        session.merge(row)


def neighbours(session: Session, job: JobRow, report: Report) -> list[Neighbour]:
    """What was submitted before and lies near, the nearest first."""
    from benchmark.submissions.signatures import distances

    if not report.probes or report.card is None:
        return []
    query = select(ProbeRow, JobRow.team_id, JobRow.state, TeamRow.name).join(JobRow, JobRow.id == ProbeRow.job_id)
    query = query.join(TeamRow, TeamRow.id == JobRow.team_id)
    rows = session.execute(query.where(JobRow.id != job.id, JobRow.state != State.REFUSED)).all()
    configuration = configuration_of(report.card)
    found = [
        Neighbour(far, row.job_id, name, team == job.team_id, row.configuration == configuration, row.seed)
        for (row, team, state, name), far in zip(
            rows, distances(report.probes, [row[0].signature for row in rows]), strict=True
        )
        if far < NEAR and not (team == job.team_id and state in (State.WITHDRAWN, State.FAILED))
    ]
    return sorted(found, key=lambda one: one.distance)


def copy_problems(found: list[Neighbour], card: Card) -> list[Problem]:
    """Why near copies are refused: another team's weights, or a team's own under another seed."""
    limit = COPY_OF_ONE_START if card.initialised_from else COPY
    remedy = "Submit weights that you trained yourself, each seed on its own."
    for one in found:
        if one.distance >= limit:
            break
        if not one.own and one.team != LOCAL:
            message = (
                f"these weights answer as those of team {shown(one.team)} do, which were submitted before (job {one.job})."
            )
            return [Problem(part="weights", code="copied_weights", message=message, remedy=remedy)]
        if one.own and one.same_configuration:
            message = f"these weights answer as those of job {one.job} do, of the same configuration (seed {one.seed})."
            return [Problem(part="weights", code="copied_seed", message=message, remedy=remedy)]
    return []


def copy_flags(found: list[Neighbour]) -> list[Flag]:
    """What readers learn of weights that lie near others without being refused."""
    if not found:
        return []
    one = found[0]
    whose = "its team's own" if one.own else f"team {shown(one.team)}'s"
    reason = f"The weights lie near {whose} of job {one.job}: {one.distance:.2f}, where independent trainings are beyond 1."
    return [Flag(name="near_copy", severity="info" if one.own else "warning", reason=reason)]
