"""Tables of the store.  A change here needs a migration in :mod:`benchmark.migrations`; a test compares both."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CHANGES = "changes"  # the row of ``meta`` that counts writes


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

    ``configuration`` is part of the key so that the same weights handed in by another team, or as another defence, stand
    beside a record and never replace it.
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
