"""The whole store in one file, and back: records, teams (hashes of tokens), jobs and their logs.

A zip of one JSON-lines file a table and of ``store.json``, which names the version of the schema.  It does not depend on the
database: a backup of SQLite can be restored into PostgreSQL.  Uploaded files are not in it; their folder is copied apart.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, Table, func, insert, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError

from benchmark.runtime.atomic import replacing
from benchmark.runtime.zips import DAMAGED_ZIP
from benchmark.service.database import Database, StoreError, StoreVersionError

FORMAT = 1
_HEAD = "store.json"
_BATCH = 500  # rows


class BackupError(StoreError):
    """The file is no backup, or the store it should be restored into is in use."""


def backup(database: Database, path: Path) -> dict[str, int]:
    """Writes everything, as of one moment, while others go on; returns the number of rows of each table.

    An older file at ``path`` is replaced when the new one is whole.
    """
    counts: dict[str, int] = {}
    with database.snapshot() as (connection, revision), replacing(path) as temporary:
        tables = _tables(connection)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for table in tables:
                with archive.open(f"{table.name}.jsonl", "w") as stream:
                    counts[table.name] = 0
                    for row in connection.execute(select(table).order_by(*table.primary_key.columns)).mappings():
                        stream.write(json.dumps(dict(row)).encode() + b"\n")
                        counts[table.name] += 1
            made = datetime.now(UTC).isoformat(timespec="seconds")
            head = {"format": FORMAT, "schema": revision, "made": made, "rows": counts}
            archive.writestr(_HEAD, json.dumps(head, indent=1))
    return counts


def restore(location: str | Path, path: Path, replace: bool = False) -> dict[str, int]:
    """Fills a store from a backup, all or nothing, and brings its schema up to date; returns rows of each table.

    Args:
        replace: put the backup's content in the place of what the store holds, in one transaction and inside the live
            database, so that nothing has to be moved and nobody has to be stopped.

    Raises:
        BackupError: the file is no backup, or is damaged; or the store holds something already.
        StoreVersionError: the backup was made by a newer FaceVeil.
    """
    if replace:
        return _restore_in_place(location, path)
    return _restore_new(location, path)


def _restore_in_place(location: str | Path, path: Path) -> dict[str, int]:
    """By way of a store of its own, whose schema is up to date whatever the backup's was."""
    with tempfile.TemporaryDirectory(prefix="faceveil-restore-") as folder:
        counts = _restore_new(Path(folder) / "store.sqlite", path)
        source, target = Database(Path(folder) / "store.sqlite"), Database(location)
        try:
            with source.snapshot() as (reading, _), target.exclusive() as writing:
                _exchange(reading, writing)
        finally:
            source.close()
            target.close()
    return counts


def _exchange(reading: Connection, writing: Connection) -> None:
    """Puts the rows of one database in the place of another's; counters only grow, so that caches see the change."""
    tables = _tables(writing)
    counters = {row.key: row.value for row in writing.execute(text("SELECT key, value FROM meta"))}
    for table in reversed(tables):
        writing.execute(table.delete())
    for table in tables:
        rows = reading.execute(select(table)).mappings()
        while batch := rows.fetchmany(_BATCH):
            writing.execute(insert(table), [dict(row) for row in batch])
        _continue_numbers(writing, table)
    meta = next(table for table in tables if table.name == "meta")
    for row in reading.execute(select(meta)).mappings().all():
        value = max(row["value"], counters.get(row["key"], 0)) + 1
        writing.execute(meta.update().where(meta.c.key == row["key"]).values(value=value))


def _restore_new(location: str | Path, path: Path) -> dict[str, int]:
    try:
        archive = zipfile.ZipFile(path)
        head = json.loads(archive.read(_HEAD))
        revision, counts = str(head["schema"]), {str(name): int(rows) for name, rows in head["rows"].items()}
    except OSError as error:
        raise BackupError(f"backup {path} cannot be read: {error.strerror}.") from None
    except (*DAMAGED_ZIP, KeyError, TypeError, AttributeError):
        raise BackupError(f"{path} is no backup of a store, or is cut off.") from None
    with archive:
        if head.get("format") != FORMAT:
            raise StoreVersionError(f"backup {path} was made by a newer FaceVeil. Update to restore it.")
        database = Database(location, revision=revision)
        try:
            with database.exclusive() as connection:
                _fill(connection, archive, counts)
        finally:
            database.close()
    Database(location).close()  # brings it up to date
    return counts


def _tables(connection: Connection) -> list[Table]:
    """The store's tables as they are in the database, those first that others refer to."""
    meta = MetaData()
    meta.reflect(connection)
    return [table for table in meta.sorted_tables if table.name != "alembic_version"]


def _fill(connection: Connection, archive: zipfile.ZipFile, counts: dict[str, int]) -> None:
    tables = _tables(connection)
    for table in tables:
        if table.name != "meta" and connection.scalar(select(func.count()).select_from(table)):
            raise BackupError(
                f"the store holds rows in {table.name} already. `faceveil store restore --replace` puts the backup in their "
                "place, in one step; make a backup of what is there first."
            )
    for table in tables:
        if table.name == "meta":
            connection.execute(table.delete())
        found = 0
        for rows in _batches(archive, table.name):
            try:
                connection.execute(insert(table), rows)
            except (SQLAlchemyError, TypeError, ValueError, AttributeError, OverflowError):
                raise BackupError(f"the backup is damaged: its rows of {table.name} do not fit their columns.") from None
            found += len(rows)
        if found != counts.get(table.name, 0):
            raise BackupError(f"the backup lacks rows of {table.name}: {found} of {counts.get(table.name, 0)} are there.")
        _continue_numbers(connection, table)


def _batches(archive: zipfile.ZipFile, table: str) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    try:
        with archive.open(f"{table}.jsonl") as stream:
            for line in stream:
                rows.append(json.loads(line))
                if len(rows) == _BATCH:
                    yield rows
                    rows = []
    except (*DAMAGED_ZIP, KeyError):
        raise BackupError(f"the backup is damaged: its rows of {table} cannot be read.") from None
    if rows:
        yield rows


def _continue_numbers(connection: Connection, table: Table) -> None:
    """PostgreSQL numbers new rows by a counter of its own, which has not seen those that were put in."""
    if connection.dialect.name != "postgresql" or "id" not in table.columns:
        return
    sequences = {column["name"]: column.get("default") for column in inspect(connection).get_columns(table.name)}
    if "nextval" in str(sequences.get("id")):
        top = connection.scalar(select(func.max(table.columns["id"])))
        if top is not None:
            connection.execute(
                text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :top)"), {"name": table.name, "top": top}
            )
