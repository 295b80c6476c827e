"""Whether a valid submission is accepted: by this team, on this track, and not what is there already."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.records.listing import Summary
from benchmark.service.job_rows import move
from benchmark.service.jobs import OPEN, State
from benchmark.service.limits import Limits
from benchmark.service.tables import JobRow, RecordRow, SubmissionRow, TeamRow
from benchmark.service.teams import LOCAL
from benchmark.submissions.problems import Part, Problem, shown
from benchmark.submissions.report import Report


def admission(session: Session, job: JobRow, team: TeamRow, report: Report, limits: Limits) -> list[Problem]:
    """Why a valid submission is refused all the same; the session's transaction must keep others from asking meanwhile."""
    problems = _track(report)
    if team.name != LOCAL:
        problems += _name(team, report) or _copied(session, team, report)
    return problems or _budget(report, limits) or _again(session, job, report)


def _problem(part: Part, code: str, message: str, remedy: str) -> Problem:
    return Problem(part=part, code=code, message=message, remedy=remedy)


def _budget(report: Report, limits: Limits) -> list[Problem]:
    """The evaluation trains shadows as the card says that the entry was trained."""
    if report.cost is None or report.cost <= limits.training_cost:
        return []
    message = (
        f"training it again takes {report.cost:.0f} times what the track's own backbone and schedule take "
        f"(allowed: {limits.training_cost:.0f})."
    )
    return [_problem("card", "training_too_long", message, "Submit a smaller model, or one that is trained for fewer epochs.")]


def _track(report: Report) -> list[Problem]:
    from benchmark.protocol.tracks import TRACKS

    assert report.card is not None
    name, version = report.card.track, report.card.protocol_version
    if name not in TRACKS:
        remedy = f"Set `track` in card.json to one of: {', '.join(TRACKS)}."
        return [_problem("card", "unknown_track", f"the card's track {shown(name)} is not one of this evaluator's.", remedy)]
    if version != TRACKS[name].version:
        message = f"the card was written for protocol {shown(version)}; track {name} is at {TRACKS[name].version}."
        remedy = "See in the changelog what changed, train again where it matters, and set `protocol_version` in card.json."
        return [_problem("card", "protocol_version", message, remedy)]
    return []


def _name(team: TeamRow, report: Report) -> list[Problem]:
    assert report.card is not None
    if report.card.team == team.name:
        return []
    message = f"the card names team {shown(report.card.team)}, the token is that of {shown(team.name)}."
    return [_problem("card", "wrong_team", message, f"Set `team` in card.json to {team.name!r}.")]


def _copied(session: Session, team: TeamRow, report: Report) -> list[Problem]:
    """The weights are another team's: it handed them in first, or its name stands on their record."""
    jobs = select(TeamRow.name).join(JobRow, JobRow.team_id == TeamRow.id)
    jobs = jobs.where(JobRow.weights_sha256 == report.weights_sha256, JobRow.state != State.REFUSED, JobRow.team_id != team.id)
    first = session.scalars(jobs.where(TeamRow.name != LOCAL).order_by(JobRow.created)).first()
    records = select(RecordRow.summary).join(SubmissionRow, SubmissionRow.id == RecordRow.submission_id)
    records = records.where(SubmissionRow.weights_sha256 == report.weights_sha256)
    owners = [Summary.model_validate_json(text).team for text in session.scalars(records)]
    others = [*([first] if first else []), *(owner for owner in owners if owner != team.name)]
    if not others:
        return []
    message = f"these very weights were submitted before, by team {shown(others[0])}."
    return [_problem("weights", "duplicate_weights", message, "Submit weights that you trained yourself.")]


def _again(session: Session, job: JobRow, report: Report) -> list[Problem]:
    """The same team has submitted the same on the same track: it is under way, or published.

    One that still waits for consent makes room: whoever was to give it may be gone, such as a command that was killed.
    """
    assert report.card is not None
    earlier = select(JobRow).where(
        JobRow.team_id == job.team_id,
        JobRow.id != job.id,
        JobRow.submission_id == report.submission_id,
        JobRow.track == report.card.track,
        JobRow.state.in_((*OPEN, State.PUBLISHED)),
    )
    for found in session.scalars(earlier.order_by(JobRow.created)).all():
        if found.state != State.VALIDATED:
            message = f"this was submitted before, as job {found.id}."
            return [_problem("weights", "already_submitted", message, f"See what became of it: `faceveil queue {found.id}`.")]
        move(session, found, State.WITHDRAWN, f"submitted again, as job {job.id}")
    return []
