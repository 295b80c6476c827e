"""What a team may submit, and for how long things wait."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from benchmark.submissions.package import CARD, HEAD, MAX_BYTES, WEIGHTS

MEBIBYTE = 2**20


class Limits(BaseModel):
    """Bounds of the submission service; times in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upload_bytes: PositiveInt = MAX_BYTES[CARD] + MAX_BYTES[WEIGHTS] + MAX_BYTES[HEAD] + MEBIBYTE  # of one upload
    quarantine_bytes: PositiveInt = 64 * 1024 * MEBIBYTE  # of all that is kept
    uploads_per_hour: PositiveInt = 20  # of one team
    open_jobs: PositiveInt = 10  # of one team: neither published nor refused, failed or withdrawn
    attempts: PositiveInt = 5  # workers that may die over one job before it is taken for the cause
    lease_seconds: PositiveFloat = 60.0
    turn_seconds: float = Field(600.0, ge=0)  # between the turns of one team's jobs, so that another team's come in between
    upload_seconds: PositiveFloat = 3600.0  # an upload that is not whole by then was interrupted
    training_cost: PositiveFloat = 40.0  # of one shadow, in units of the track's own backbone and schedule
    evaluation_seconds: PositiveFloat = 86400.0  # of one job on one worker
    consent_seconds: PositiveFloat = 86400.0  # how long a validated job waits for consent
