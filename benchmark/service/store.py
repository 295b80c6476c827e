"""The store of records: add, find, export, import.

A record is kept once per evaluation: submission, track, protocol version, split, board and configuration.  Adding it again
changes nothing; a complete record takes the place of an incomplete one, and of two alike the newer stays.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select

from benchmark.records.digest import VERSION, Digest, digest_of, run_of
from benchmark.records.exporting import to_csv, to_json
from benchmark.records.listing import Listed, Summary
from benchmark.records.reading import items, problem, record_of
from benchmark.records.record import Record
from benchmark.records.runs import RecordSource, Run
from benchmark.runtime.home import home
from benchmark.service.backup import backup
from benchmark.service.database import BUSY_SECONDS, Database, StoreError
from benchmark.service.leases import Leases
from benchmark.service.limits import Limits
from benchmark.service.queue import Queue
from benchmark.service.record_rows import Outcome, Removal, add_row, check_record, digest_row, parse, record_id, removed, to_row
from benchmark.service.rounds import Rounds
from benchmark.service.tables import CHANGES, DigestRow, Meta, RecordRow, RemovalRow
from benchmark.service.teams import Teams

__all__ = ["Outcome", "RecordFileError", "Store", "StoreError", "UnknownRecordError", "record_id", "store_location"]


_log = logging.getLogger("faceveil.store")
_NAMED = 500  # names in one question; of more records all are read


def store_location() -> str:
    """Where the store is unless a path or URL is given: ``FACEVEIL_STORE_URL``, else ``store.sqlite`` in the home."""
    given = os.environ.get("FACEVEIL_STORE_URL") or str(home() / "store.sqlite")
    return os.path.expanduser(given)  # of a URL it leaves everything as it is


class UnknownRecordError(StoreError):
    """The store holds no such record."""


class RecordFileError(StoreError):
    """Files that were to be imported are not records: evaluate again, or remove them."""


@dataclass(frozen=True)
class StoredDigest:
    """The digest of a record of the store, by the record's permanent name."""

    name: str
    digest: Digest
    withdrawn: str | None
    fingerprint: str = ""  # of the record from which it was made; of one that is kept already it does not matter

    @property
    def run(self) -> Run:
        """The record in brief; a withdrawn one says so among the reasons for no rank.

        Raises:
            ValueError: the digest is damaged.
        """
        run = run_of(self.digest.text)
        unranked = _with_withdrawal(run.unranked, self.withdrawn) if self.withdrawn else run.unranked
        return replace(run, source=RecordSource(name=self.name), unranked=unranked)


class Store:
    """Records, teams and jobs in a database; safe to share between threads, and between processes.

    ``teams``, ``queue`` and ``leases`` are the parts of it that people who submit, readers of the queue and workers use;
    ``rounds`` are the evaluator's.

    Args:
        location: a path (SQLite) or a database URL; default :func:`store_location`.
        busy_seconds: how long to wait for another process that is writing.
        limits: what teams may submit, and how long leases last.
        clock: of leases, instead of the database's; for tests.

    Raises:
        StoreError: here and in every method; its subclasses say what to do.
    """

    def __init__(
        self,
        location: str | Path | None = None,
        busy_seconds: float = BUSY_SECONDS,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._database = Database(store_location() if location is None else location, busy_seconds)
        limits = limits or Limits()
        self.teams = Teams(self._database)
        self.queue = Queue(self._database, limits)
        self.leases = Leases(self._database, limits, clock)
        self.rounds = Rounds(self._database)

    @property
    def name(self) -> str:
        """Path or URL, without any password."""
        return self._database.name

    def close(self) -> None:
        """Closes every connection."""
        self._database.close()

    def add_record(self, record: Record) -> Outcome:
        """Stores a record, whole or not at all."""
        row = to_row(record)
        with self._database.session() as session:
            return add_row(session, row, record.provenance.weights_sha256)

    def records(self, track: str | None = None, unreadable: Callable[[str], None] = _log.warning) -> list[Record]:
        """Every record (of one track), by track, date and name; withdrawn ones say so among the reasons for no rank.

        Args:
            unreadable: is called with each record that cannot be read; the others are returned all the same.
        """
        query = select(RecordRow.id, RecordRow.payload, RecordRow.withdrawn)
        if track is not None:
            query = query.where(RecordRow.track == track)
        query = query.order_by(RecordRow.track, RecordRow.created, RecordRow.id)
        with self._database.session() as session:
            rows = session.execute(query).yield_per(100)
            return [record for row in rows for record in _readable(row, unreadable)]

    def index(self, track: str | None = None) -> list[Listed]:
        """As :meth:`records`, but without reading them: what lists show, and what tells whether a record has changed."""
        columns = [getattr(RecordRow, name) for name in Listed.model_fields]
        query = select(*columns).order_by(RecordRow.track, RecordRow.created, RecordRow.id)
        if track is not None:
            query = query.where(RecordRow.track == track)
        with self._database.session() as session:
            rows = session.execute(query).mappings().all()
        listed = []
        for row in rows:
            try:
                listed.append(Listed(**{**row, "summary": Summary.model_validate_json(row["summary"])}))
            except ValueError:  # pydantic's ValidationError is one
                _log.warning("record %s cannot be listed: its row is damaged", row["id"][:16])
        return listed

    def record(self, submission_id: str, track: str | None = None, board: str | None = None) -> Record:
        """The newest record of a submission (on one track, on one board).

        Raises:
            UnknownRecordError: there is none.
        """
        query = select(RecordRow.id, RecordRow.payload, RecordRow.withdrawn)
        query = query.where(RecordRow.submission_id == submission_id)
        if track is not None:
            query = query.where(RecordRow.track == track)
        if board is not None:
            query = query.where(RecordRow.board == board)
        with self._database.session() as session:
            found = session.execute(query.order_by(RecordRow.created.desc(), RecordRow.id).limit(1)).first()
        if found is None:
            where = f" on track {track!r}" if track else ""
            raise UnknownRecordError(f"no record of submission {submission_id!r}{where}. Evaluate it, or import its record.")
        return _read(*found)

    def amend_record(self, submission_id: str, track: str, fields: Mapping[str, object]) -> bool:
        """Puts ``fields`` into the newest record of a submission on a track; False where there is none."""
        try:
            record = self.record(submission_id, track)
        except UnknownRecordError:
            return False
        self.add_record(record.model_copy(update=dict(fields)))
        return True

    def fingerprints(self) -> dict[str, str]:
        """What changes with every record, by its permanent name: what has changed is known without reading the records."""
        with self._database.session() as session:
            rows = session.execute(select(RecordRow.id, RecordRow.fingerprint, RecordRow.withdrawn))
            return {row.id: row.fingerprint if row.withdrawn is None else f"{row.fingerprint} withdrawn" for row in rows}

    def record_named(self, name: str) -> Record:
        """The record of a permanent name, as :meth:`fingerprints` and :meth:`index` list them.

        Raises:
            UnknownRecordError: there is none.
        """
        query = select(RecordRow.id, RecordRow.payload, RecordRow.withdrawn).where(RecordRow.id == name)
        with self._database.session() as session:
            found = session.execute(query).first()
        if found is None:
            raise UnknownRecordError(f"no record {name[:64]!a} in the store; it may have been replaced: read the list again.")
        return _read(*found)

    def digests(self, names: Collection[str]) -> Iterator[StoredDigest]:
        """The digests of some records, of those that have one of the present version."""
        query = select(RecordRow.id, RecordRow.withdrawn, DigestRow.attacks, DigestRow.content).join(DigestRow)
        query = query.where(DigestRow.version == VERSION, DigestRow.fingerprint == RecordRow.fingerprint)
        if len(names) <= _NAMED:
            query = query.where(RecordRow.id.in_(names))
        with self._database.session() as session:
            for name, withdrawn, attacks, content in session.execute(query).yield_per(500):
                if name in names:
                    yield StoredDigest(name, Digest(attacks, content), withdrawn)

    def make_digest(self, name: str) -> StoredDigest:
        """The digest of a record, made from it as it is now; see :meth:`keep_digests`.

        Raises:
            StoreError: there is no such record, or it cannot be read.
            ValueError: it cannot be shown.
        """
        query = select(RecordRow.payload, RecordRow.withdrawn, RecordRow.fingerprint).where(RecordRow.id == name)
        with self._database.session() as session:
            found = session.execute(query).first()
        if found is None:
            raise UnknownRecordError(f"no record {name[:64]!a} in the store; it may have been replaced: read the list again.")
        return StoredDigest(name, digest_of(parse(found.payload, name)), found.withdrawn, found.fingerprint)

    def keep_digests(self, made: Iterable[StoredDigest]) -> None:
        """Keeps digests that were missing beside their records; where that cannot be done, they are made again next time."""
        if self._database.read_only:
            return
        with contextlib.suppress(StoreError), self._database.session(write=True) as session:
            for item in made:
                session.merge(digest_row(item.name, item.fingerprint, item.digest))

    def remove_record(self, name: str, reason: str) -> Removal:
        """Removes a record for good; that it was there, and why it is not any more, stays to be seen.

        Args:
            name: its permanent name, or the beginning of it that no other has.

        Raises:
            UnknownRecordError: there is none, or more than one.
        """
        if not reason.strip():
            raise StoreError("say why the record is removed: the reason stays to be seen.")
        with self._database.session(write=True) as session:
            rows = session.scalars(select(RecordRow).where(RecordRow.id.startswith(name, autoescape=True)).limit(2)).all()
            if len(rows) != 1:
                what = "several records begin" if rows else "no record begins"
                raise UnknownRecordError(f"{what} with {name[:64]!a}. `faceveil store list` shows their names.")
            trace = removed(session, rows[0], reason)
            return Removal.model_validate(trace, from_attributes=True)

    def removals(self) -> list[Removal]:
        """The records that were removed, the last one first."""
        with self._database.session() as session:
            rows = session.scalars(select(RemovalRow).order_by(RemovalRow.moment.desc(), RemovalRow.id))
            return [Removal.model_validate(row, from_attributes=True) for row in rows]

    def version(self) -> int:
        """A number that grows with every change, for caches: one read of one row."""
        with self._database.session() as session:
            return session.scalars(select(Meta.value).where(Meta.key == CHANGES)).one()

    def export(self, format: Literal["json", "csv"]) -> str:
        """Every record as one text; JSON can be imported again."""
        if format not in ("json", "csv"):
            raise StoreError(f"unknown export format {format!r}. Allowed: json, csv.")
        return (to_json if format == "json" else to_csv)(self.records())

    def backup(self, path: Path) -> dict[str, int]:
        """Everything in one file; see :mod:`benchmark.service.backup`."""
        return backup(self._database, path)

    def import_records(self, paths: Path | str | Iterable[Path | str]) -> Counter[Outcome]:
        """Adds the records in JSON files (one record or a list each), or in the ``*.json`` of folders; all or none.

        Raises:
            RecordFileError: names every file that could not be read and why; nothing was imported.
        """
        rows = [(to_row(record), record.provenance.weights_sha256) for record in _read_files(_files(paths))]
        with self._database.session() as session:
            return Counter(add_row(session, row, weights) for row, weights in rows)


def _readable(row: Any, unreadable: Callable[[str], None]) -> Iterator[Record]:
    try:
        yield _read(*row)
    except StoreError as error:
        unreadable(str(error))


def _read(name: str, payload: str, withdrawn: str | None) -> Record:
    record = parse(payload, name)
    return record.model_copy(update={"unranked": _with_withdrawal(record.unranked, withdrawn)}) if withdrawn else record


def _with_withdrawal(unranked: tuple[str, ...], withdrawn: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*unranked, f"withdrawn by its team on {withdrawn[:10]}")))


def _files(paths: Path | str | Iterable[Path | str]) -> list[Path]:
    given = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    files = []
    for path in given:
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not found:
            raise RecordFileError(f"folder {path} holds no files of records (*.json).")
        files += found
    return files


def _read_files(files: list[Path]) -> list[Record]:
    records: list[Record] = []
    problems = []
    for file in files:
        try:
            for item in items(file):
                record = record_of(item)
                check_record(record)
                records.append(record)
        except (OSError, ValueError, RecursionError) as error:
            problems.append(f"{file}: {problem(error)}")
    if problems:
        raise RecordFileError("nothing was imported; not records: " + "; ".join(problems))
    return records
