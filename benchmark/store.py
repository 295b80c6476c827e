"""The store of records: add, find, export, import.

A record is kept once per evaluation: submission, track, protocol version, split, board and configuration.  Adding it again
changes nothing; a complete record takes the place of an incomplete one, and of two alike the newer stays.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from benchmark.database import BUSY_SECONDS, Database, StoreError, StoreVersionError
from benchmark.exporting import to_csv, to_json
from benchmark.home import home
from benchmark.interfaces import content_hash
from benchmark.record import SCHEMA_VERSION, Record
from benchmark.tables import CHANGES, Meta, RecordRow, SubmissionRow


class UnknownRecordError(StoreError):
    """The store holds no such record."""


class RecordFileError(StoreError):
    """Files that were to be imported are not records: evaluate again, or remove them."""


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


class Store:
    """Records in a database; safe to share between threads, and between processes.

    Args:
        location: a path (SQLite) or a database URL; by default ``store.sqlite`` in :func:`benchmark.home.home`.
        busy_seconds: how long to wait for another process that is writing.

    Raises:
        StoreError: here and in every method; its subclasses say what to do.
    """

    def __init__(self, location: str | Path | None = None, busy_seconds: float = BUSY_SECONDS) -> None:
        self._database = Database(home() / "store.sqlite" if location is None else location, busy_seconds)

    def close(self) -> None:
        """Closes every connection."""
        self._database.close()

    def add_record(self, record: Record) -> Outcome:
        """Stores a record, whole or not at all."""
        row = _row(record)
        with self._database.session() as session:
            return _add(session, row, record.provenance.weights_sha256)

    def records(self, track: str | None = None) -> list[Record]:
        """Every record (of one track), by track, date and name."""
        query = select(RecordRow.id, RecordRow.payload).order_by(RecordRow.track, RecordRow.created, RecordRow.id)
        if track is not None:
            query = query.where(RecordRow.track == track)
        with self._database.session() as session:
            return [_parse(payload, name) for name, payload in session.execute(query).yield_per(100)]

    def record(self, submission_id: str, track: str | None = None, board: str | None = None) -> Record:
        """The newest record of a submission (on one track, on one board).

        Raises:
            UnknownRecordError: there is none.
        """
        query = select(RecordRow.id, RecordRow.payload).where(RecordRow.submission_id == submission_id)
        if track is not None:
            query = query.where(RecordRow.track == track)
        if board is not None:
            query = query.where(RecordRow.board == board)
        with self._database.session() as session:
            found = session.execute(query.order_by(RecordRow.created.desc(), RecordRow.id).limit(1)).first()
        if found is None:
            where = f" on track {track!r}" if track else ""
            raise UnknownRecordError(f"no record of submission {submission_id!r}{where}. Evaluate it, or import its record.")
        return _parse(found.payload, found.id)

    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of every record by its permanent name: what has changed is known without reading the records."""
        with self._database.session() as session:
            rows = session.execute(select(RecordRow.id, RecordRow.fingerprint))
            return {row.id: row.fingerprint for row in rows}

    def record_named(self, name: str) -> Record:
        """The record of a permanent name, as :meth:`fingerprints` lists them.

        Raises:
            UnknownRecordError: there is none.
        """
        with self._database.session() as session:
            payload = session.scalar(select(RecordRow.payload).where(RecordRow.id == name))
        if payload is None:
            raise UnknownRecordError(f"no record {name!r} in the store; it may have been replaced: read the list again.")
        return _parse(payload, name)

    def version(self) -> int:
        """A number that grows with every change, for caches: one read of one row."""
        with self._database.session() as session:
            return session.scalars(select(Meta.value).where(Meta.key == CHANGES)).one()

    def export(self, format: Literal["json", "csv"]) -> str:
        """Every record as one text; JSON can be imported again."""
        if format not in ("json", "csv"):
            raise StoreError(f"unknown export format {format!r}. Allowed: json, csv.")
        return (to_json if format == "json" else to_csv)(self.records())

    def import_records(self, paths: Path | str | Iterable[Path | str]) -> Counter[Outcome]:
        """Adds the records in JSON files (one record or a list each), or in the ``*.json`` of folders; all or none.

        Raises:
            RecordFileError: names every file that could not be read and why; nothing was imported.
        """
        rows = [(_row(record), record.provenance.weights_sha256) for record in _read_files(_files(paths))]
        with self._database.session() as session:
            return Counter(_add(session, row, weights) for row, weights in rows)


def _row(record: Record) -> RecordRow:
    payload = record.model_dump_json()
    try:
        Record.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"record {record.card.name!r} could not be read back: {where}: {first['msg']} (NaN, perhaps)."
        raise StoreError(message) from None
    return RecordRow(
        id=record_id(record),
        submission_id=record.provenance.submission_id,
        track=record.track,
        protocol_version=record.protocol_version,
        split_digest=record.provenance.split_digest,
        board=record.board,
        configuration=record.configuration,
        fingerprint=record.fingerprint,
        complete=record.complete,
        created=_utc(record.provenance.created),
        payload=payload,
    )


def _utc(created: str) -> str:
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        raise StoreError(f"record date {created!r} is not ISO 8601, such as 2026-01-31T12:00:00+00:00.") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")


def _add(session: Session, row: RecordRow, weights_sha256: str) -> Outcome:
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


def _outcome(present: RecordRow | None, new: RecordRow) -> Outcome:
    if present is None:
        return Outcome.ADDED
    if present.fingerprint == new.fingerprint:
        return Outcome.UNCHANGED
    better = (new.complete, new.created) >= (present.complete, present.created)
    return Outcome.REPLACED if better else Outcome.KEPT


def _parse(payload: str, name: str) -> Record:
    try:
        return Record.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreVersionError(
            f"record {name[:16]} cannot be read as version {SCHEMA_VERSION} of the format ({where}: {first['msg']}). "
            "It was written by another FaceVeil: update, or evaluate again."
        ) from None


def _files(paths: Path | str | Iterable[Path | str]) -> list[Path]:
    given = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    files = []
    for path in given:
        files += sorted(path.glob("*.json")) if path.is_dir() else [path]
    return files


def _read_files(files: list[Path]) -> list[Record]:
    records: list[Record] = []
    problems = []
    for file in files:
        try:
            content: Any = json.loads(file.read_text(encoding="utf-8"))
            for item in content if isinstance(content, list) else [content]:
                records.append(Record.model_validate_json(json.dumps(item)))
        except OSError as error:
            problems.append(f"{file}: {error.strerror}")
        except ValidationError as error:
            first = error.errors()[0]
            problems.append(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
        except (ValueError, RecursionError) as error:
            problems.append(f"{file}: not JSON ({error})")
    if problems:
        raise RecordFileError("nothing was imported; not records: " + "; ".join(problems))
    return records
