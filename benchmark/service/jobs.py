"""What becomes of a submission: its states, its log, and why it was refused or failed.

uploaded -> quarantined -> validated -> queued -> running -> published
                 |                        |         |
                 v                        |         v
          refused, failed                 |       failed  (retry: queued, or its checks again)
withdrawn: from any state; what was published stays listed, marked as withdrawn
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from benchmark.service.database import StoreError
from benchmark.submissions.problems import Problem
from benchmark.submissions.report import Flag


class State(StrEnum):
    """Where a job stands."""

    UPLOADED = "uploaded"  # a team began to send it; its bytes are arriving
    QUARANTINED = "quarantined"  # the file is here, whole, and nothing has looked into it
    VALIDATED = "validated"  # it may be evaluated; waits for the submitter's consent
    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker evaluates it
    PUBLISHED = "published"  # its record is on the board
    FAILED = "failed"  # the evaluation ended without a record
    REFUSED = "refused"  # it cannot be evaluated as it is
    WITHDRAWN = "withdrawn"  # its team took it back


OPEN = (State.UPLOADED, State.QUARANTINED, State.VALIDATED, State.QUEUED, State.RUNNING)

MOVES: dict[State, tuple[State, ...]] = {
    State.UPLOADED: (State.QUARANTINED, State.REFUSED, State.WITHDRAWN),
    State.QUARANTINED: (State.VALIDATED, State.REFUSED, State.FAILED, State.WITHDRAWN),
    State.VALIDATED: (State.QUEUED, State.WITHDRAWN),
    State.QUEUED: (State.RUNNING, State.WITHDRAWN),
    State.RUNNING: (State.PUBLISHED, State.FAILED, State.QUEUED, State.WITHDRAWN),
    State.FAILED: (State.QUARANTINED, State.QUEUED, State.WITHDRAWN),  # tried again: from its checks, or its evaluation
    State.PUBLISHED: (State.WITHDRAWN,),
    State.REFUSED: (),
    State.WITHDRAWN: (),
}


class QueueError(StoreError):
    """The job cannot do what was asked of it."""


class UnknownJobError(QueueError):
    """There is no such job."""


class MoveError(QueueError):
    """The job is in a state from which this does not follow."""


class ForeignJobError(QueueError):
    """The job is another team's."""


class LimitError(QueueError):
    """The team has reached its limit for now; ``retry_after`` is in seconds."""

    def __init__(self, message: str, retry_after: int = 3600) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LeaseLostError(QueueError):
    """The job is no longer this worker's: it was withdrawn, or the lease ran out and another took it up."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Event(_Model):
    """One line of a job's log; ``moment`` is ISO 8601, UTC."""

    moment: str
    state: State
    text: str


class Job(_Model):
    """A submission on its way, as everybody may see it."""

    id: str  # 16 hexadecimal digits; not to be guessed, but no secret
    team: str
    name: str  # of the card; empty until it is validated
    track: str
    licence: str
    state: State
    created: str  # ISO 8601, UTC
    updated: str
    position: int | None = None  # in the queue, 1 = next; None: not in it
    size: int  # bytes
    sha256: str | None = None  # of the file
    submission_id: str | None = None
    weights_sha256: str | None = None
    consent: str | None = None  # when it was given
    attempts: int = 0  # how often a worker has taken it up
    worker: str = ""  # who has it now
    problems: tuple[Problem, ...] = ()
    flags: tuple[Flag, ...] = ()
    record: str | None = None  # id of its record, once published

    @property
    def over(self) -> bool:
        """True where nothing more happens by itself."""
        return self.state not in OPEN


class Lease(_Model):
    """A worker's right to a job until it expires; ``attempt`` tells it from an earlier one of the same worker."""

    job: Job
    worker: str
    attempt: int
