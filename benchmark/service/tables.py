"""Tables of the store.  A change here needs a migration in :mod:`benchmark.service.migrations`; a test compares both."""

from __future__ import annotations

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

CHANGES = "changes"  # the row of ``meta`` that counts changes of records
QUEUE = "queue"  # the row that counts changes of jobs and teams
INTAKE = "intake"  # the row whose lock makes one check for duplicates wait for another


class Base(DeclarativeBase):
    """Base of the tables."""


class Meta(Base):
    """Numbers about the store itself; the schema's version is alembic's."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class SubmissionRow(Base):
    """A submission that has a record; ``weights_sha256`` finds those that share their weights."""

    __tablename__ = "submissions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    weights_sha256: Mapped[str] = mapped_column(String(64), index=True)


class RecordRow(Base):
    """A record as JSON, with the columns by which it is found and replaced.

    ``configuration`` is part of the key so that the same weights submitted by another team, or as another defence, stand
    beside a record and never replace it.  ``summary`` is what a list shows, so that lists need not read whole records.
    """

    __tablename__ = "records"
    __table_args__ = (
        UniqueConstraint(
            "submission_id",
            "track",
            "protocol_version",
            "split_digest",
            "board",
            "configuration",
            name="uq_records_evaluation",
        ),
        Index("ix_records_track", "track", "created"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # hash of the key
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"))
    track: Mapped[str] = mapped_column(String(80))
    protocol_version: Mapped[str] = mapped_column(String(80))
    split_digest: Mapped[str] = mapped_column(String(64))
    board: Mapped[str] = mapped_column(String(16))
    configuration: Mapped[str] = mapped_column(String(64))
    fingerprint: Mapped[str] = mapped_column(String(64))
    complete: Mapped[bool]
    created: Mapped[str] = mapped_column(String(40))  # ISO 8601, UTC: sorts by time
    payload: Mapped[str] = mapped_column(Text)
    summary: Mapped[str] = mapped_column(Text)  # JSON of a benchmark.records.listing.Summary's fields
    withdrawn: Mapped[str | None] = mapped_column(String(40))  # when; the record stays
    digest: Mapped[DigestRow | None] = relationship(cascade="all, delete-orphan", passive_deletes=True)


class DigestRow(Base):
    """What the board needs of a record (:mod:`benchmark.records.digest`); one of another version or fingerprint does not count.

    A table of its own, so that reading it does not pass over the records.
    """

    __tablename__ = "digests"

    record_id: Mapped[str] = mapped_column(ForeignKey("records.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    fingerprint: Mapped[str] = mapped_column(String(64))  # of the record from which it was made
    attacks: Mapped[str] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(Text)


class TeamRow(Base):
    """A team that may submit.  Of its token only the hash is kept; None: it never had one."""

    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(60))
    key: Mapped[str] = mapped_column(String(60), unique=True)  # the name without its case
    token_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    created: Mapped[str] = mapped_column(String(40))
    revoked: Mapped[str | None] = mapped_column(String(40))


class JobRow(Base):
    """A submission on its way from upload to record.  Rows are never deleted: what failed or was withdrawn stays visible."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_state", "state", "queued"), Index("ix_jobs_team", "team_id", "created"))

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id"))
    state: Mapped[str] = mapped_column(String(16))
    created: Mapped[str] = mapped_column(String(40))
    updated: Mapped[str] = mapped_column(String(40))
    queued: Mapped[str | None] = mapped_column(String(40))  # since when it waits: the order of the queue
    consent: Mapped[str | None] = mapped_column(String(40))  # when the submitter agreed that it is evaluated and shown
    size: Mapped[int] = mapped_column(BigInteger)  # of the uploaded file, bytes
    sha256: Mapped[str | None] = mapped_column(String(64))  # of the uploaded file
    name: Mapped[str] = mapped_column(String(80))  # from here on: of the card, once it is validated
    track: Mapped[str] = mapped_column(String(80))
    licence: Mapped[str] = mapped_column(String(200))
    submission_id: Mapped[str | None] = mapped_column(String(64))
    weights_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    problems: Mapped[str] = mapped_column(Text)  # JSON: why it was refused or failed, with remedies
    flags: Mapped[str] = mapped_column(Text)  # JSON: red flags of the validation
    attempts: Mapped[int]  # how often it was taken up; never falls, so that it tells leases apart
    deaths: Mapped[int]  # workers that were lost over it
    worker: Mapped[str] = mapped_column(String(80))
    lease_until: Mapped[float | None] = mapped_column(Float)  # seconds since 1970, by the database's clock
    record_id: Mapped[str | None] = mapped_column(String(64))


class ProbeRow(Base):
    """What a job's backbone makes of fixed probes (see :mod:`benchmark.submissions.probes`): near copies are known by it."""

    __tablename__ = "probes"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    signature: Mapped[str] = mapped_column(Text)
    configuration: Mapped[str] = mapped_column(String(64))  # of the card, without its seed
    seed: Mapped[int] = mapped_column(BigInteger)


class RemovalRow(Base):
    """The trace of a record that an operator removed; ``id`` is the record's."""

    __tablename__ = "removals"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    moment: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(String(500))
    name: Mapped[str] = mapped_column(String(80))
    team: Mapped[str] = mapped_column(String(80))
    track: Mapped[str] = mapped_column(String(80))
    board: Mapped[str] = mapped_column(String(16))
    submission_id: Mapped[str] = mapped_column(String(64))
    fingerprint: Mapped[str] = mapped_column(String(64))  # of what was removed


class RoundRow(Base):
    """A round: the sha256 of a secret, published before anything is handed in, and the secret once it is revealed."""

    __tablename__ = "rounds"

    secret_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    opened: Mapped[str] = mapped_column(String(40))
    secret: Mapped[str | None] = mapped_column(Text)
    revealed: Mapped[str | None] = mapped_column(String(40))


class EventRow(Base):
    """One line of a job's log."""

    __tablename__ = "job_events"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    moment: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(String(500))
