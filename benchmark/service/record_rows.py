"""Records as rows of the store: written within a transaction that the caller opened."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from benchmark.interfaces import content_hash
from benchmark.records.digest import VERSION, Digest, digest_of
from benchmark.records.listing import Summary
from benchmark.records.record import SCHEMA_VERSION, Record
from benchmark.records.runs import Run
from benchmark.service.database import StoreError, StoreVersionError
from benchmark.service.job_rows import log
from benchmark.service.tables import CHANGES, DigestRow, JobRow, Meta, RecordRow, RemovalRow, SubmissionRow
from benchmark.submissions.bounds import check_bounds

_DEPTH, _VALUES, _TEXT = 32, 2_000_000, 20_000  # of a record


class Outcome(StrEnum):
    """What adding a record did."""

    ADDED = "added"
    REPLACED = "replaced"  # an older or incomplete record of the same evaluation
    UNCHANGED = "unchanged"  # the same record was there
    KEPT = "kept"  # a newer or more complete record was there and stays


def record_id(record: Record) -> str:
    """The permanent name of an evaluation: 64 hexadecimal digits, the same however often it is run."""
    key = (
        record.provenance.submission_id,
        record.track,
        record.protocol_version,
        record.provenance.split_digest,
        record.board,
        record.configuration,
    )
    return content_hash(*key, length=64)


def to_row(record: Record) -> RecordRow:
    """The row of a record, with that of its digest.

    Raises:
        StoreError: it could not be read back, or its date is none.
    """
    try:
        check_record(record)
    except ValueError as error:
        raise StoreError(f"record {record.card.name!r} cannot be stored: {error} (NaN, perhaps).") from None
    payload = record.model_dump_json()
    try:
        Record.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"record {record.card.name!r} could not be read back: {where}: {first['msg']} (NaN, perhaps)."
        raise StoreError(message) from None
    name, fingerprint = record_id(record), record.fingerprint
    return RecordRow(
        id=name,
        submission_id=record.provenance.submission_id,
        track=record.track,
        protocol_version=record.protocol_version,
        split_digest=record.provenance.split_digest,
        board=record.board,
        configuration=record.configuration,
        fingerprint=fingerprint,
        complete=record.complete,
        created=_utc(record.provenance.created),
        payload=payload,
        summary=Summary.of(Run.of(record)).model_dump_json(),
        digest=digest_row(name, fingerprint, digest_of(record)),
    )


def check_record(record: Record) -> None:
    """Accepts a record whose numbers are finite and whose parts are small enough to be shown.

    Raises:
        ValueError: names the first place.
    """
    check_bounds(record.model_dump(), depth=_DEPTH, values=_VALUES, text=_TEXT)
    names = [*record.attacks, *record.defenses, record.track, record.protocol_version, *(a.label for a in record.membership)]
    if any(len(name) > 400 or not name.isprintable() for name in names):
        raise ValueError("a track, attack or defence has a name that cannot be shown")


def _utc(created: str) -> str:
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        raise StoreError(f"record date {created!r} is not ISO 8601, such as 2026-01-31T12:00:00+00:00.") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")


def digest_row(name: str, fingerprint: str, digest: Digest) -> DigestRow:
    """The row of the digest of a record of that name and fingerprint."""
    return DigestRow(record_id=name, version=VERSION, fingerprint=fingerprint, attacks=digest.attacks, content=digest.text)


def add_row(session: Session, row: RecordRow, weights_sha256: str) -> Outcome:
    """Adds or replaces a record, with its digest, within the session's transaction."""
    # writing first takes the write lock, so that two writers never both find the record absent
    changes = update(Meta).where(Meta.key == CHANGES)
    session.execute(changes.values(value=Meta.value))
    present = session.get(RecordRow, row.id)
    outcome = _outcome(present, row)
    if outcome in (Outcome.UNCHANGED, Outcome.KEPT):
        return outcome
    session.execute(changes.values(value=Meta.value + 1))
    if session.get(SubmissionRow, row.submission_id) is None:
        session.add(SubmissionRow(id=row.submission_id, weights_sha256=weights_sha256))
    session.flush()
    session.merge(row)
    session.flush()
    return outcome


class Removal(BaseModel):
    """The trace of a record that an operator removed."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)

    id: str  # the record's permanent name
    moment: str  # ISO 8601, UTC
    reason: str
    name: str  # of its card
    team: str
    track: str
    board: str
    submission_id: str
    fingerprint: str


def removed(session: Session, row: RecordRow, reason: str) -> RemovalRow:
    """Removes a record, whether it can be read or not, and leaves its trace; jobs that led to it say so in their logs."""
    try:
        summary = Summary.model_validate_json(row.summary)
    except ValueError:
        summary = Summary()
    moment = datetime.now(UTC).isoformat(timespec="microseconds")
    trace = RemovalRow(
        id=row.id,
        moment=moment,
        reason=reason.strip()[:500],
        name=summary.name[:80],
        team=summary.team[:80],
        track=row.track,
        board=row.board,
        submission_id=row.submission_id,
        fingerprint=row.fingerprint,
    )
    merged = session.merge(trace)
    for job in session.scalars(select(JobRow).where(JobRow.record_id == row.id)).all():
        job.record_id = None
        log(session, job, f"its record was removed by the evaluator: {reason.strip()}")
    session.execute(update(Meta).where(Meta.key == CHANGES).values(value=Meta.value + 1))
    session.delete(row)
    session.flush()
    return merged


def _outcome(present: RecordRow | None, new: RecordRow) -> Outcome:
    if present is None:
        return Outcome.ADDED
    if present.fingerprint == new.fingerprint:
        return Outcome.UNCHANGED
    better = (new.complete, new.created) >= (present.complete, present.created)
    return Outcome.REPLACED if better else Outcome.KEPT


def parse(payload: str, name: str) -> Record:
    """The record in a stored text.

    Raises:
        StoreVersionError: it is of another format.
    """
    try:
        return Record.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreVersionError(
            f"record {name[:16]} cannot be read as version {SCHEMA_VERSION} of the format ({where}: {first['msg']}). "
            "It was written by another FaceVeil: update, or evaluate again."
        ) from None
