"""The whole store in one file, and back: records, teams (hashes of tokens), jobs and their logs.

A zip of one JSON-lines file a table and of ``store.json``, which names the version of the schema.  It does not depend on the
database: a backup of SQLite can be restored into PostgreSQL.  Uploaded files are not in it; their folder is copied apart.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, Table, func, insert, inspect, select, text

from benchmark.runtime.atomic import replacing
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


def restore(location: str | Path, path: Path) -> dict[str, int]:
    """Fills a new, empty store from a backup, all or nothing, and brings its schema up to date; returns rows of each table.

    Raises:
        BackupError: the file is no backup, or is cut off; or the store holds something already.
        StoreVersionError: the backup was made by a newer FaceVeil.
    """
    try:
        archive = zipfile.ZipFile(path)
        head = json.loads(archive.read(_HEAD))
        revision, counts = str(head["schema"]), {str(name): int(rows) for name, rows in head["rows"].items()}
    except OSError as error:
        raise BackupError(f"backup {path} cannot be read: {error.strerror}.") from None
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError):
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
            raise BackupError(f"the store holds rows in {table.name} already. Restore into a new one, and move it into place.")
    for table in tables:
        if table.name == "meta":
            connection.execute(table.delete())
        found = 0
        for rows in _batches(archive, table.name):
            connection.execute(insert(table), rows)
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
    except (KeyError, ValueError, zipfile.BadZipFile, EOFError):
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
