"""From an upload to a checked job: quarantine first, then the checks, in a process of their own.

Whatever is interrupted leaves a job that says so: uploads that broke off are swept, and checks are done by whoever comes by.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from benchmark.service.checker import Check, CheckerError, Examiner
from benchmark.service.database import StoreError
from benchmark.service.heartbeat import heartbeat
from benchmark.service.jobs import Job, Lease, State
from benchmark.service.quarantine import DiskFullError, Incoming, Quarantine, QuarantineError, TooLargeError
from benchmark.service.queue import BROKEN_OFF
from benchmark.service.store import Store
from benchmark.service.teams import Team
from benchmark.submissions.problems import Problem

CHUNK = 2**20  # bytes
RETRY_SECONDS = 20.0  # until checks that could not be run are tried again
_ENDED = (State.REFUSED, State.WITHDRAWN)  # jobs whose file is of no more use


class Intake:
    """Takes submissions in.

    Args:
        quarantine: default: the usual folder.
        check: turns a path into a report; default: an :class:`benchmark.service.checker.Examiner`.
    """

    def __init__(self, store: Store, quarantine: Quarantine | None = None, check: Check | None = None) -> None:
        self.store = store
        self.quarantine = quarantine or Quarantine()
        self._examiner = Examiner() if check is None else None
        self._check: Check = self._examiner or check  # type: ignore[assignment]
        self._worker = f"intake {socket.gethostname()} {os.getpid()}"

    def close(self) -> None:
        """Ends the process of the checks."""
        if self._examiner is not None:
            self._examiner.close()

    def submit(self, team: Team, stream: BinaryIO | Iterable[bytes], size: int = 0) -> Job:
        """Takes a zip in and checks it; returns the job, ``validated`` or ``refused``.

        Args:
            stream: a binary file, or its bytes in pieces; read in pieces, never as a whole.
            size: as declared, for limits before the first byte.

        Raises:
            LimitError: the team has submitted too much.
            QuarantineError: the upload could not be kept; the job says why.
        """
        job = self.store.queue.open(team, size)
        with self.receiving(job) as incoming:
            for chunk in _pieces(stream):
                incoming.write(chunk)
        return self.check(job.id)

    @contextmanager
    def receiving(self, job: Job) -> Iterator[Incoming]:
        """The upload of a job: what is written in the block is in quarantine when it ends, and the job is ``quarantined``.

        Whatever is raised inside refuses the job.
        """
        try:
            with self.quarantine.receive(job.id, self.store.queue.limits.upload_bytes) as incoming:
                yield incoming
        except BaseException as error:
            self._break_off(job, error)
            raise
        self.store.queue.received(job.id, incoming.size, incoming.sha256)

    def _break_off(self, job: Job, error: BaseException) -> None:
        try:
            self.store.queue.refuse(job.id, [_reason(error)])
        except StoreError:
            return  # the store is gone, too, or the job was withdrawn meanwhile; a sweep will find it

    def check(self, job_id: str, worker: str = "") -> Job:
        """Checks a quarantined job, unless somebody else does; returns how it stands."""
        lease = self.store.leases.claim(worker or self._worker, (State.QUARANTINED,), job=job_id)
        return self.store.queue.job(job_id) if lease is None else self.check_leased(lease)

    def check_leased(self, lease: Lease) -> Job:
        """The checks of a job that was claimed for them."""
        path = self.quarantine.path(lease.job.id)
        if (problem := lost(path, lease.job.sha256)) is not None:
            return self.store.leases.fail(lease, problem)
        with heartbeat(self.store.leases, lease):
            try:
                report = self._check(path)
            except CheckerError as error:
                text = f"its checks could not be run, through no fault of its own: {error} They will be tried again."
                return self.store.leases.release(lease, text, wait=RETRY_SECONDS)
        job = self.store.leases.checked(lease, report)
        if job.state == State.REFUSED:
            self.quarantine.discard(job.id)
        return job

    def withdraw(self, job_id: str, team: Team | None = None, reason: str = "") -> Job:
        """Withdraws a job and removes its file."""
        job = self.store.queue.withdraw(job_id, team, reason)
        self.quarantine.discard(job_id)
        return job

    def sweep(self) -> list[Job]:
        """Ends what nobody continues, and removes files that belong to no job any more."""
        ended = self.store.queue.sweep()
        kept = [state for state in State if state not in _ENDED]
        known = [job.id for job in self.store.queue.jobs(kept, limit=1_000_000)]
        self.quarantine.clean(known, self.store.queue.limits.upload_seconds)
        return ended


def lost(path: Path, sha256: str | None) -> Problem | None:
    """The problem of a job whose file is not where it should be, or not what was received; None: there is none."""
    if not path.is_file():
        message = f"its file {path.name} is not in this evaluator's quarantine folder any more."
        return Problem(part="packaging", code="file_lost", message=message, remedy="Submit it again.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 in (None, found):
        return None
    message = (
        f"its file {path.name} was damaged after it had been received: the evaluator's disk is at fault, not the submission."
    )
    return Problem(part="packaging", code="file_damaged", message=message, remedy="Submit it again, and tell the evaluator.")


def _reason(error: BaseException) -> Problem:
    if isinstance(error, TooLargeError):
        return Problem(part="packaging", code="too_large", message=str(error), remedy="Submit a smaller model.")
    if isinstance(error, DiskFullError):
        return Problem(part="packaging", code="disk_full", message=str(error), remedy="Upload it again later.")
    if isinstance(error, QuarantineError):
        return Problem(part="packaging", code="not_kept", message=str(error), remedy="Tell the evaluator.")
    return BROKEN_OFF


def _pieces(stream: BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    read = getattr(stream, "read", None)
    if read is None:
        yield from stream
        return
    while chunk := read(CHUNK):
        yield chunk
