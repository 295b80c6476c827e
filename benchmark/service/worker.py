"""A worker: takes jobs from the queue, checks or evaluates them, publishes their records.

Killed at any moment it leaves nothing behind but a lease that runs out: the next worker resumes from the finished pieces of the
evaluation (:mod:`benchmark.runtime.step_cache`), and the record is stored in the same transaction that ends the job.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmark.interfaces import FaceVeilError
from benchmark.records.record import Record
from benchmark.runtime.disk import disk_is_full
from benchmark.runtime.executor import Status
from benchmark.runtime.interrupts import raise_again
from benchmark.runtime.memory import out_of_memory
from benchmark.runtime.progress import duration
from benchmark.service.database import StoreError
from benchmark.service.heartbeat import Heart, heartbeat
from benchmark.service.intake import RETRY_SECONDS, Intake, lost
from benchmark.service.jobs import Job, Lease, LeaseLostError, State
from benchmark.service.leases import TAKES
from benchmark.service.store import Store
from benchmark.submissions.problems import Problem, shown

Log = Callable[[str], None]
Evaluate = Callable[[Path, Job, "JobReporter"], Record]
_PATIENCE = 12  # times that a store is asked again before a worker gives up a finished evaluation


class DiskFullHereError(FaceVeilError):
    """This worker's disk is full: it stops, and its job goes back to the queue."""


class TooLongError(FaceVeilError):
    """An evaluation took more time than a job has."""


class JobReporter:
    """Tells the job's log what is being done, and stops the work when the job is no longer this worker's.

    It is what :class:`benchmark.evaluation.session.Session` takes as its ``progress``.
    """

    def __init__(self, store: Store, lease: Lease, heart: Heart, log: Log) -> None:
        self._store = store
        self._lease = lease
        self._heart = heart
        self._log = log
        self._deadline = time.monotonic() + store.queue.limits.evaluation_seconds

    def step(self, text: str) -> None:
        """What is being done now."""
        self._check()
        self._log(f"{self._lease.job.id}: {text}")
        try:
            self._store.leases.log(self._lease, text)
        except LeaseLostError:
            raise
        except StoreError as error:  # a line of the log is not worth the work done so far
            self._log(f"{self._lease.job.id}: not logged: {error}")

    def training(self, _report: Any) -> None:
        """One finished epoch of a shadow."""
        self._check()

    def tasks(self, status: Status) -> None:
        """How far a graph of steps is; one line of the log a finished step."""
        self._check()
        if status.finished is not None:
            self.step(f"{status.finished.name}: {duration(status.seconds)}; {status.line}")

    def _check(self) -> None:
        self._heart.check()
        if time.monotonic() > self._deadline:
            hours = self._store.queue.limits.evaluation_seconds / 3600
            raise TooLongError(f"its evaluation was not done after {hours:.1f} hours. Submit a smaller model.")


class Worker:
    """Works through the queue of a store.

    Args:
        evaluate: what an evaluation is: the path of the zip, the job and where to tell progress -> the record.  The seam
            for other evaluations (and for tests); default: the standard one on this machine, :func:`standard_evaluation`.
        tracks: only evaluations on these; None: all.
        name: in logs; each worker needs its own.
        log: where the worker tells what it does.
    """

    def __init__(
        self,
        store: Store,
        intake: Intake,
        evaluate: Evaluate,
        *,
        tracks: Sequence[str] | None = None,
        name: str | None = None,
        log: Log = lambda _text: None,
    ) -> None:
        self.store = store
        self.intake = intake
        self.tracks = tracks
        self.name = name or f"{socket.gethostname()[:40]} {os.getpid()} {secrets.token_hex(2)}"
        self._evaluate = evaluate
        self._log = log

    def once(self, takes: Sequence[State] = TAKES) -> Job | None:
        """Takes the next job to its end; None: there is nothing to do.

        Raises:
            StoreError: the store cannot be asked; no job is lost by that.
            DiskFullHereError: this machine cannot go on; the job is in the queue again.
        """
        lease = self.store.leases.claim(self.name, takes, tracks=self.tracks)
        if lease is None:
            return None
        try:
            job = self._checked(lease) if lease.job.state == State.QUARANTINED else self._evaluated(lease)
        except LeaseLostError as error:
            self._log(str(error))
            return self.store.queue.job(lease.job.id)
        except (KeyboardInterrupt, SystemExit):
            self.store.leases.release(lease, f"worker {self.name} was ended; waits for another")
            raise
        except (StoreError, DiskFullHereError):
            raise
        except Exception as error:  # no job may end the worker that took it up
            job = self._survived(lease, error)
        self._log(f"{job.id}: {job.state}")
        return job

    def run(self, pause: float = 5.0) -> None:
        """Works until it is interrupted, or its disk is full; whatever else goes wrong is logged, and work continues."""
        while True:
            try:
                self.intake.sweep()
                while self.once() is not None:
                    pass
            except StoreError as error:
                self._log(str(error))
            except DiskFullHereError:
                raise
            except Exception as error:
                traceback.print_exception(error, file=sys.stderr)
            time.sleep(pause)

    def _survived(self, lease: Lease, error: Exception) -> Job:
        """A job over which this worker's own code failed: it waits a while, and counts as one that ends workers."""
        traceback.print_exception(error, file=sys.stderr)
        text = f"a fault of the evaluator's: {type(error).__name__}: {shown(str(error), 200)}; it will be taken up again"
        return self.store.leases.release(lease, text, wait=RETRY_SECONDS, blamed=True)

    def _checked(self, lease: Lease) -> Job:
        self._log(f"{lease.job.id}: checks")
        return self.intake.check_leased(lease)

    def _evaluated(self, lease: Lease) -> Job:
        path = self.intake.quarantine.path(lease.job.id)
        if (problem := lost(path, lease.job.sha256)) is not None:
            return self.store.leases.fail(lease, problem)
        with heartbeat(self.store.leases, lease) as heart:
            try:
                record = self._evaluate(path, lease.job, JobReporter(self.store, lease, heart, self._log))
            except LeaseLostError:
                raise
            except StoreError as error:  # of the job's own making: its log and heartbeats do not raise it
                return self.store.leases.fail(lease, _problem("store", str(error), "Ask the evaluator."))
            except FaceVeilError as error:
                raise_again()
                message = str(error).replace(str(path), path.name)  # where it lies here is nobody's business
                return self.store.leases.fail(
                    lease, _problem("evaluation_refused", message, "Correct what it names, and submit again.")
                )
            except Exception as error:
                raise_again()
                return self._broken(lease, error)
            return self._persistently(lambda: self.store.leases.publish(lease, record))

    def _broken(self, lease: Lease, error: Exception) -> Job:
        """An evaluation that ended by a fault: of the disk, or one that nobody foresaw."""
        if disk_is_full(error):
            self.store.leases.release(lease, f"the disk of worker {self.name} is full; waits for another")
            raise DiskFullHereError("this worker's disk is full: free some space and start it again.") from error
        traceback.print_exception(error, file=sys.stderr)
        if out_of_memory(error):
            message = "its evaluation takes more memory than a job has here."
            return self.store.leases.fail(lease, _problem("too_much_memory", message, "Submit a smaller model."))
        message = f"the evaluation ended by a fault: {type(error).__name__}: {shown(str(error), 200)}."
        remedy = "Try again (`faceveil queue JOB --retry`); if it fails again, tell the evaluator."
        return self.store.leases.fail(lease, _problem("evaluation_failed", message, remedy))

    def _persistently(self, act: Callable[[], Job]) -> Job:
        """A finished evaluation is not given up because the store is away for a moment."""
        for attempt in range(_PATIENCE):
            try:
                return act()
            except LeaseLostError:
                raise
            except StoreError as error:
                if attempt + 1 == _PATIENCE:
                    raise
                self._log(f"asking again in a moment: {error}")
                time.sleep(min(2.0**attempt, 30.0) * self.store.queue.limits.lease_seconds / 240)
        raise AssertionError("unreachable")


def _problem(code: str, message: str, remedy: str) -> Problem:
    return Problem(part="behaviour", code=code, message=message[:1000], remedy=remedy)


def standard_evaluation(
    data: Path | None, device: str, init: Any = None, *, inversion: bool = True, held: str | None = None
) -> Evaluate:
    """The track's evaluation on this machine.

    Args:
        data: aligned faces, for tracks that read some.
        init: the weights that fine-tuned submissions started from, a :class:`benchmark.submissions.submission.Submission`.
        inversion: whether inversion attacks run, too; the first evaluation of a track trains its judges.
        held: the round whose photos synthetic tracks are evaluated with.
    """

    def evaluate(path: Path, job: Job, progress: JobReporter) -> Record:
        from benchmark.evaluation.inversion.judgement import with_inversion
        from benchmark.evaluation.session import Session
        from benchmark.protocol.tracks import get_track, in_round
        from benchmark.submissions.submission import load_submission

        submission = load_submission(path)
        track = get_track(job.track)
        if held is not None and track.source == "synthetic":
            track = in_round(track, held)
        faces = data if track.source == "folder" else None
        session = Session(track, faces, device, init=init, progress=progress)
        record = session.evaluate(submission)
        return with_inversion(record, session.inversion(submission).run()) if inversion else record

    return evaluate
