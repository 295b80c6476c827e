"""The queue of submissions, as its submitters and readers see it; workers' part is in :mod:`benchmark.service.leases`.

Every change of a job is one transaction, logged with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.orm import Session

from benchmark.service.database import Database
from benchmark.service.job_rows import found, give_up, job_of, locked, log, move, now, positions, read
from benchmark.service.jobs import OPEN, Event, ForeignJobError, Job, LimitError, MoveError, State
from benchmark.service.limits import Limits
from benchmark.service.tables import CHANGES, QUEUE, EventRow, JobRow, Meta, RecordRow, TeamRow
from benchmark.service.teams import LOCAL, Team
from benchmark.submissions.problems import Problem

_KEPT = (*OPEN, State.FAILED, State.PUBLISHED)  # states in which the file is kept


class Queue:
    """Jobs of a store (:attr:`benchmark.service.store.Store.queue`).

    Raises:
        QueueError: in every method; its subclasses say what is wrong.
    """

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self.limits = limits

    def version(self) -> int:
        """A number that grows with every change of a job or team, for caches; heartbeats do not count."""
        with self._database.session() as session:
            return session.scalars(select(Meta.value).where(Meta.key == QUEUE)).one()

    # what can be seen

    def job(self, job_id: str) -> Job:
        """One job."""
        with self._database.session() as session:
            return read(session, found(session, job_id))

    def jobs(
        self,
        states: Sequence[State] | None = None,
        *,
        team: str | None = None,
        track: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Job]:
        """Jobs, those that wait or run first in the order of the queue, then the rest, newest first."""
        query = select(JobRow, TeamRow.name).join(TeamRow, TeamRow.id == JobRow.team_id)
        if states is not None:
            query = query.where(JobRow.state.in_(states))
        if team is not None:
            query = query.where(TeamRow.key == team.casefold())
        if track is not None:
            query = query.where(JobRow.track == track)
        running = case((JobRow.state == State.RUNNING, 0), (JobRow.state == State.QUEUED, 1), else_=2)
        waits = case((JobRow.state.in_((State.RUNNING, State.QUEUED)), JobRow.queued), else_="")
        query = query.order_by(running, waits, JobRow.updated.desc(), JobRow.id).limit(limit).offset(offset)
        with self._database.session() as session:
            places = positions(session)
            return [job_of(row, name, places) for row, name in session.execute(query)]

    def counts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        with self._database.session() as session:
            counted = dict(session.execute(select(JobRow.state, func.count()).group_by(JobRow.state)).all())
        return {state: counted.get(state, 0) for state in State}

    def log(self, job_id: str, last: int = 50) -> list[Event]:
        """The last lines of a job's log, oldest first."""
        query = select(EventRow).where(EventRow.job_id == job_id).order_by(EventRow.id.desc()).limit(last)
        with self._database.session() as session:
            events = [Event(moment=e.moment, state=State(e.state), text=e.text) for e in session.scalars(query)]
        return events[::-1]

    # what submitters do

    def open(self, team: Team, size: int = 0) -> Job:
        """Begins an upload of (about) ``size`` bytes; its file will be kept under the job's id.

        Raises:
            LimitError: the team has submitted too much of late, or the service's storage is full.
        """
        with self._database.session(write=True) as session:
            session.scalars(select(TeamRow.id).where(TeamRow.id == team.id).with_for_update()).one()
            if team.name != LOCAL:
                self._check_limits(session, team, size)
            moment = now()
            row = JobRow(
                id=secrets.token_hex(8),
                team_id=team.id,
                state=State.UPLOADED,
                created=moment,
                updated=moment,
                size=size,
                name="",
                track="",
                licence="",
                problems="[]",
                flags="[]",
                attempts=0,
                deaths=0,
                worker="",
            )
            session.add(row)
            session.flush()
            log(session, row, f"upload by {team.name} begins")
            return read(session, row)

    def _check_limits(self, session: Session, team: Team, size: int) -> None:
        limits = self.limits
        if size > limits.upload_bytes:
            raise LimitError(f"the upload has {size} bytes (allowed: {limits.upload_bytes}). Submit a smaller model.", 0)
        mine = select(func.count()).select_from(JobRow).where(JobRow.team_id == team.id)
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="microseconds")
        recent = session.scalar(mine.where(JobRow.created >= since)) or 0
        if recent >= limits.uploads_per_hour:
            raise LimitError(f"{recent} uploads within an hour (allowed: {limits.uploads_per_hour}). Try again later.")
        under_way = session.scalar(mine.where(JobRow.state.in_(OPEN))) or 0
        if under_way >= limits.open_jobs:
            message = f"{under_way} jobs are under way (allowed: {limits.open_jobs}). Wait for one to end, or withdraw one."
            raise LimitError(message)
        kept = session.scalar(select(func.sum(JobRow.size)).where(JobRow.state.in_(_KEPT))) or 0
        if kept + size > limits.quarantine_bytes:
            raise LimitError("the service keeps as many uploads as it can hold. Tell the evaluator, and try again later.")

    def received(self, job_id: str, size: int, sha256: str) -> Job:
        """The upload is whole: its file lies in quarantine."""
        with self._database.session(write=True) as session:
            row = locked(session, job_id)
            row.size, row.sha256 = size, sha256
            move(session, row, State.QUARANTINED, f"{size} bytes received, sha256 {sha256[:16]}")
            return read(session, row)

    def refuse(self, job_id: str, problems: Sequence[Problem]) -> Job:
        """Ends a job that no worker holds, with the reasons."""
        with self._database.session(write=True) as session:
            row = locked(session, job_id)
            give_up(session, row, State.REFUSED, problems)
            return read(session, row)

    def enqueue(self, job_id: str, team: Team | None = None) -> Job:
        """Queues a validated job: its submitter agrees that it is evaluated, and that card and results are shown for good.

        Args:
            team: who asks; None: the evaluator.
        """
        with self._database.session(write=True) as session:
            row = _own(locked(session, job_id), team)
            row.consent, row.queued = now(), self._turn(session, row)
            move(session, row, State.QUEUED, "consent given; waits for a worker")
            return read(session, row)

    def _turn(self, session: Session, row: JobRow) -> str:
        """When a job's turn comes: now, or a while after the last one of its team, so that nobody waits behind all of them."""
        waiting = JobRow.state.in_((State.QUEUED, State.RUNNING))
        last = session.scalar(select(func.max(JobRow.queued)).where(JobRow.team_id == row.team_id, waiting))
        if last is None:
            return now()
        after = datetime.fromisoformat(last) + timedelta(seconds=self.limits.turn_seconds)
        return max(now(), after.isoformat(timespec="microseconds"))

    def retry(self, job_id: str, team: Team | None = None) -> Job:
        """Queues a failed job again, behind those that wait; it resumes what was finished."""
        with self._database.session(write=True) as session:
            row = _own(locked(session, job_id), team)
            if row.state != State.FAILED:
                raise MoveError(f"job {row.id} is {row.state}; only a failed job can be tried again.")
            row.deaths, row.problems = 0, "[]"
            if row.consent is None:  # it did not come through its checks
                move(session, row, State.QUARANTINED, "its checks will be tried again")
            else:
                row.queued = self._turn(session, row)
                move(session, row, State.QUEUED, "to be tried again; waits for a worker")
            return read(session, row)

    def withdraw(self, job_id: str, team: Team | None = None, reason: str = "") -> Job:
        """Takes a job back.  It stays listed; a record that it led to stays, too, marked and unranked."""
        with self._database.session(write=True) as session:
            row = _own(locked(session, job_id), team)
            row.worker, row.lease_until = "", None
            if row.record_id is not None:
                session.execute(update(RecordRow).where(RecordRow.id == row.record_id).values(withdrawn=now()))
                session.execute(update(Meta).where(Meta.key == CHANGES).values(value=Meta.value + 1))
            by = "by its team" if team else "by the evaluator"
            move(session, row, State.WITHDRAWN, f"withdrawn {by}{f': {reason}' if reason else ''}")
            return read(session, row)

    def sweep(self) -> list[Job]:
        """Ends what nobody continues: uploads that broke off, validated jobs whose submitter never agreed."""
        broken, silent = _ago(self.limits.upload_seconds), _ago(self.limits.consent_seconds)
        stale = or_(
            (JobRow.state == State.UPLOADED) & (JobRow.updated < broken),
            (JobRow.state == State.VALIDATED) & (JobRow.updated < silent),
        )
        with self._database.session(write=True) as session:
            rows = session.scalars(select(JobRow).where(stale).with_for_update(skip_locked=True)).all()
            for row in rows:
                if row.state == State.UPLOADED:
                    give_up(session, row, State.REFUSED, [BROKEN_OFF])
                else:
                    move(session, row, State.WITHDRAWN, "its submitter did not agree in time that it is evaluated")
            return [read(session, row) for row in rows]


BROKEN_OFF = Problem(
    part="packaging", code="upload_broken_off", message="The upload broke off before it was whole.", remedy="Upload it again."
)


def _ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def _own(row: JobRow, team: Team | None) -> JobRow:
    if team is not None and row.team_id != team.id:
        raise ForeignJobError(f"job {row.id} is another team's.")
    return row
