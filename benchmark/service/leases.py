"""Who works on which job: a worker takes one with a lease and renews it by heartbeats.

A lease that runs out is free for another worker, which resumes what the first has finished.  Every later step of a worker
is checked against its lease (a fencing token), so that one which was held up for longer than its lease can neither publish
nor fail a job that is no longer its own.  Times are those of the database's clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from sqlalchemy import ColumnElement, CursorResult, and_, or_, select, update
from sqlalchemy.orm import Session

from benchmark.records.record import Record
from benchmark.service.admission import admission
from benchmark.service.copies import copy_flags, copy_problems, neighbours, remember
from benchmark.service.database import Database
from benchmark.service.job_rows import give_up, locked, log, move, read
from benchmark.service.jobs import Job, Lease, LeaseLostError, State
from benchmark.service.limits import Limits
from benchmark.service.record_rows import add_row, record_id, to_row
from benchmark.service.tables import INTAKE, JobRow, Meta, RecordRow, TeamRow
from benchmark.service.teams import LOCAL
from benchmark.submissions.problems import Problem
from benchmark.submissions.report import Report

TAKES = (State.QUARANTINED, State.QUEUED)  # what a worker does: checks, evaluations


class Leases:
    """The queue as workers see it (:attr:`benchmark.service.store.Store.leases`).

    Args:
        clock: seconds since 1970, instead of the database's clock; for tests.

    Raises:
        LeaseLostError: in every method that takes a lease which is no longer valid.
    """

    def __init__(self, database: Database, limits: Limits, clock: Callable[[], float] | None = None) -> None:
        self._database = database
        self.limits = limits
        self._clock = clock

    def claim(
        self, worker: str, takes: Sequence[State] = TAKES, *, tracks: Sequence[str] | None = None, job: str | None = None
    ) -> Lease | None:
        """The next job, for this worker alone until the lease ends; None: there is nothing to do.

        Args:
            takes: ``QUARANTINED`` (to be checked), ``QUEUED`` (to be evaluated).
            tracks: only evaluations on these.
            job: only this one.
        """
        with self._database.session(write=True) as session:
            moment = self._now(session)
            query = select(JobRow).where(self._free(moment, takes, tracks))
            if job is not None:
                query = query.where(JobRow.id == job)
            query = query.order_by(JobRow.queued.is_not(None), JobRow.queued, JobRow.created, JobRow.id)
            for _ in range(100):  # jobs that ended all who took them up are failed on the way
                row = session.scalars(query.limit(1).with_for_update(skip_locked=True)).first()
                if row is None:
                    return None
                if self._take(session, row, worker, moment):
                    return Lease(job=read(session, row), worker=worker, attempt=row.attempts)
            return None

    def _free(self, moment: float, takes: Sequence[State], tracks: Sequence[str] | None) -> ColumnElement[bool]:
        unheld = or_(JobRow.lease_until.is_(None), JobRow.lease_until < moment)
        wanted = []
        if State.QUARANTINED in takes:
            wanted.append(and_(JobRow.state == State.QUARANTINED, unheld))
        if State.QUEUED in takes:
            evaluations = and_(JobRow.state.in_((State.QUEUED, State.RUNNING)), unheld)
            wanted.append(evaluations if tracks is None else and_(evaluations, JobRow.track.in_(tracks)))
        return or_(*wanted)

    def _take(self, session: Session, row: JobRow, worker: str, moment: float) -> bool:
        """Gives a row to a worker; False where it has ended too many and is failed instead."""
        if row.worker:  # its lease ran out
            row.deaths += 1
            log(session, row, f"worker {row.worker} was not heard from any more")
        if row.deaths >= self.limits.attempts:
            give_up(session, row, State.FAILED, [_deadly(row.deaths)])  # its file is kept, for `--retry`
            return False
        row.attempts += 1
        row.worker, row.lease_until = worker, moment + self.limits.lease_seconds
        if row.state == State.QUEUED:
            move(session, row, State.RUNNING, f"taken up by {worker}")
        else:
            log(session, row, f"{'checked' if row.state == State.QUARANTINED else 'taken up again'} by {worker}")
        return True

    def heartbeat(self, lease: Lease) -> bool:
        """Renews a lease; False where it is lost."""
        with self._database.session(write=True) as session:
            until = self._now(session) + self.limits.lease_seconds
            held = (JobRow.id == lease.job.id, JobRow.worker == lease.worker, JobRow.attempts == lease.attempt)
            result = session.execute(update(JobRow).where(*held).values(lease_until=until))
            assert isinstance(result, CursorResult)
            return bool(result.rowcount == 1)

    def log(self, lease: Lease, text: str) -> None:
        """Adds a line to the job's log."""
        with self._database.session(write=True) as session:
            log(session, self._held(session, lease), text)

    def checked(self, lease: Lease, report: Report) -> Job:
        """Ends the checks of a quarantined job: it becomes ``validated`` or, with reasons, ``refused``.

        Weights that another team submitted, or that stand on the board under another team's name, are refused here, under a
        lock that makes two such checks wait for each other.
        """
        with self._database.session(write=True) as session:
            session.execute(update(Meta).where(Meta.key == INTAKE).values(value=Meta.value + 1))
            row = self._held(session, lease)
            team = session.scalars(select(TeamRow).where(TeamRow.id == row.team_id)).one()
            found = [] if report.problems else neighbours(session, row, report)
            problems = list(report.problems) or admission(session, row, team, report, self.limits)
            if not problems and team.name != LOCAL and report.card is not None:
                problems = copy_problems(found, report.card)
            if report.card is not None:
                row.name, row.track, row.licence = report.card.name, report.card.track[:80], report.card.licence
            row.submission_id, row.weights_sha256 = report.submission_id, report.weights_sha256
            row.flags = json.dumps([flag.model_dump() for flag in (*report.flags, *copy_flags(found))])
            if problems:
                give_up(session, row, State.REFUSED, problems)
            else:
                remember(session, row, report)
                row.worker, row.lease_until, row.deaths = "", None, 0
                move(session, row, State.VALIDATED, f"valid: submission {str(report.submission_id)[:16]}")
            return read(session, row)

    def publish(self, lease: Lease, record: Record) -> Job:
        """Stores the record and ends the job, both or neither."""
        new = to_row(record)
        with self._database.session(write=True) as session:
            row = self._held(session, lease)
            outcome = add_row(session, new, record.provenance.weights_sha256)
            row.record_id = record_id(record)
            session.execute(update(RecordRow).where(RecordRow.id == row.record_id).values(withdrawn=None))
            row.worker, row.lease_until = "", None
            move(session, row, State.PUBLISHED, f"record {row.record_id[:16]} {outcome}")
            return read(session, row)

    def fail(self, lease: Lease, problem: Problem) -> Job:
        """Ends an evaluation that cannot be finished, with the reason and the remedy."""
        with self._database.session(write=True) as session:
            row = self._held(session, lease)
            give_up(session, row, State.REFUSED if row.state == State.QUARANTINED else State.FAILED, [problem])
            return read(session, row)

    def release(self, lease: Lease, text: str, wait: float = 0.0, blamed: bool = False) -> Job:
        """Gives a job back, for another worker to go on with.

        Args:
            wait: seconds until it may be taken up again.
            blamed: the worker failed over this job: it counts as one that was lost.
        """
        with self._database.session(write=True) as session:
            row = self._held(session, lease)
            row.worker, row.lease_until = "", self._now(session) + wait if wait else None
            row.deaths += blamed
            if row.state == State.RUNNING:
                move(session, row, State.QUEUED, text)
            else:
                log(session, row, text)
            return read(session, row)

    def _held(self, session: Session, lease: Lease) -> JobRow:
        row = locked(session, lease.job.id)
        if row.worker != lease.worker or row.attempts != lease.attempt:
            raise LeaseLostError(f"job {row.id} is {row.state} and no longer held by {lease.worker}.")
        return row

    def _now(self, session: Session) -> float:
        return self._clock() if self._clock else self._database.seconds(session)


def _deadly(deaths: int) -> Problem:
    message = f"{deaths} workers were lost over it, one after the other: it needs more memory or time than they have, perhaps."
    remedy = "Try again, submit a smaller model, or ask the evaluator."
    return Problem(part="behaviour", code="workers_lost", message=message, remedy=remedy)
