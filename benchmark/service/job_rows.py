"""Jobs as rows of the store: changed within a transaction that the caller opened, each change with a line of the log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from benchmark.service.jobs import MOVES, Job, MoveError, State, UnknownJobError
from benchmark.service.tables import QUEUE, EventRow, JobRow, Meta, TeamRow
from benchmark.submissions.problems import Problem

MAX_TEXT = 500  # characters of a line of the log


def now() -> str:
    """ISO 8601, UTC, so that texts sort by time."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def found(session: Session, job_id: str, lock: bool = False) -> JobRow:
    """A job's row; with ``lock`` nobody else can change it until the transaction ends.

    Raises:
        UnknownJobError: there is none.
    """
    query = select(JobRow).where(JobRow.id == job_id)
    row = session.scalars(query.with_for_update() if lock else query).first()
    if row is None:
        raise UnknownJobError(f"there is no job {job_id[:40]!a}. `faceveil queue` lists them.")
    return row


def locked(session: Session, job_id: str) -> JobRow:
    """A job's row, locked."""
    return found(session, job_id, lock=True)


def move(session: Session, row: JobRow, state: State, text: str) -> None:
    """Changes a job's state and logs why.

    Raises:
        MoveError: the state does not follow from the job's.
    """
    before = State(row.state)
    if state not in MOVES[before]:
        allowed = ", ".join(MOVES[before]) or "nothing: it is over"
        raise MoveError(f"job {row.id} is {before} and cannot become {state}. What can follow: {allowed}.")
    row.state = state
    log(session, row, text)


def log(session: Session, row: JobRow, text: str) -> None:
    """Adds a line to a job's log."""
    row.updated = now()
    session.add(EventRow(job_id=row.id, moment=row.updated, state=row.state, text=text[:MAX_TEXT]))
    session.flush()
    session.execute(update(Meta).where(Meta.key == QUEUE).values(value=Meta.value + 1))


def give_up(session: Session, row: JobRow, state: State, problems: Iterable[Problem]) -> None:
    """Ends a job with what was wrong."""
    reasons = list(problems)
    row.problems = json.dumps([problem.model_dump() for problem in reasons])
    row.worker, row.lease_until = "", None
    move(session, row, state, "; ".join(problem.message for problem in reasons))


def job_of(row: JobRow, team: str, positions: Mapping[str, int]) -> Job:
    """The job of a row."""
    return Job(
        id=row.id,
        team=team,
        name=row.name,
        track=row.track,
        licence=row.licence,
        state=State(row.state),
        created=row.created,
        updated=row.updated,
        position=positions.get(row.id),
        size=row.size,
        sha256=row.sha256,
        submission_id=row.submission_id,
        weights_sha256=row.weights_sha256,
        consent=row.consent,
        attempts=row.attempts,
        worker=row.worker,
        problems=json.loads(row.problems),
        flags=json.loads(row.flags),
        record=row.record_id,
    )


def positions(session: Session) -> dict[str, int]:
    """Job -> place in the queue, 1 = next."""
    waiting = select(JobRow.id).where(JobRow.state == State.QUEUED).order_by(JobRow.queued, JobRow.id)
    return {name: place for place, name in enumerate(session.scalars(waiting), start=1)}


def read(session: Session, row: JobRow) -> Job:
    """The job of a row, with its team and its place."""
    session.flush()
    team = session.scalars(select(TeamRow.name).where(TeamRow.id == row.team_id)).one()
    places = positions(session) if row.state == State.QUEUED else {}
    return job_of(row, team, places)
