"""A database by path or URL, its schema brought up to date, its failures told in words.

SQLite (write-ahead log, waits for other writers) is the default; any other database by its SQLAlchemy URL.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.disk import disk_problem

BUSY_SECONDS = 30.0
MIGRATIONS = Path(__file__).parent / "migrations"


class StoreError(FaceVeilError):
    """The store cannot do what was asked of it."""


class StoreLockedError(StoreError):
    """Another process keeps the database locked: wait, or end that process."""


class StoreVanishedError(StoreError):
    """The database is gone or cannot be reached: put it back, or give another path."""


class StoreVersionError(StoreError):
    """The database was written by a newer FaceVeil: update."""


class StoreDamagedError(StoreError):
    """The file is no database, or a damaged one: restore a backup."""


# by the start of SQLite's result code (https://sqlite.org/rescode.html): error class, what is the matter
_SQLITE: tuple[tuple[str, type[StoreError], str], ...] = (
    ("SQLITE_BUSY", StoreLockedError, "is locked by another process. Wait for it to finish, or end it."),
    ("SQLITE_LOCKED", StoreLockedError, "is locked by another process. Wait for it to finish, or end it."),
    ("SQLITE_CANTOPEN", StoreVanishedError, "cannot be opened. Does its folder exist, and may you write to it?"),
    ("SQLITE_READONLY", StoreError, "cannot be written to. Give yourself write access to the file and its folder."),
    ("SQLITE_FULL", StoreError, "cannot grow: the disk is full. Free some space; nothing that was stored is lost."),
    ("SQLITE_IOERR", StoreVanishedError, "cannot be read or written: its disk failed, is full, or was taken away."),
    ("SQLITE_CORRUPT", StoreDamagedError, "is damaged. Restore a backup, or import the records from their files."),
    ("SQLITE_NOTADB", StoreDamagedError, "is not a database. Give the path of a store, or remove the file."),
)


def url_of(location: str | Path) -> URL:
    """The SQLAlchemy URL of a path or URL; PostgreSQL gets the driver that the ``postgres`` extra installs.

    Raises:
        StoreError: not a URL that SQLAlchemy understands.
    """
    given = str(location)
    if "://" not in given:
        return URL.create("sqlite", database=str(Path(location).expanduser().absolute()))
    try:
        url = make_url(given)
    except ArgumentError:
        raise StoreError("this is not a database URL; expected a path or driver://user:password@host/name.") from None
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgres", "postgresql") else url


class Database:
    """Sessions on one database; safe to share between threads.

    Args:
        revision: of the schema, where it is older than that; for backups of older versions.

    Raises:
        StoreError: on construction and in sessions, with a subclass for each remedy.
    """

    def __init__(self, location: str | Path, busy_seconds: float = BUSY_SECONDS, revision: str = "head") -> None:
        self.url = url_of(location)
        self.name = self.url.render_as_string(hide_password=True)
        self._file = Path(self.url.database) if self.url.drivername.startswith("sqlite") and self.url.database else None
        self._inode: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._revision = revision
        self.read_only = False
        if self._file:
            self.name = str(self._file)
            _make_folder(self._file)
            _require_whole(self._file)
            self.read_only = _read_only(self._file)
        with self._translated():
            self._engine = _engine(self.url, busy_seconds, self.read_only)
            self._upgrade()

    def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()

    @contextmanager
    def session(self, write: bool = False) -> Iterator[Session]:
        """One transaction: everything in the block is stored together, or nothing of it.

        Args:
            write: the block decides by what it reads what it writes.  SQLite then takes its one write lock at once;
                elsewhere the block locks rows (``with_for_update``).
        """
        self._reopen_if_replaced()
        with self._translated(), Session(self._engine) as session, session.begin():
            if write and self._file:
                session.connection().exec_driver_sql("BEGIN IMMEDIATE")
            yield session
        self._require_file()

    def seconds(self, session: Session) -> float:
        """Seconds since 1970 by the database's clock: the one clock that workers on several machines share."""
        if self.url.drivername.startswith("postgresql"):
            return float(session.scalar(text("SELECT extract(epoch FROM clock_timestamp())")))
        return time.time()

    @contextmanager
    def snapshot(self) -> Iterator[tuple[Connection, str]]:
        """A connection that sees the database as it is now, whatever others write meanwhile; and the schema's revision."""
        self._reopen_if_replaced()
        with self._translated(), self._engine.connect() as connection:
            if self._file:
                connection.exec_driver_sql("BEGIN")
            else:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            revision = MigrationContext.configure(connection).get_current_revision()
            yield connection, str(revision)
        self._require_file()

    @contextmanager
    def exclusive(self) -> Iterator[Connection]:
        """A connection in one transaction, on SQLite the only writer; for restoring a backup."""
        with self._translated(), self._engine.begin() as connection:
            if self._file:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def _upgrade(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with self._engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        if not self._reached(ScriptDirectory.from_config(config), current):
            if self.read_only:
                message = f"store {self.name} is of an older version and cannot be written to. Open it once with write access."
                raise StoreVersionError(message)
            self._migrate(config)
        self._inode = self._current_inode()

    def _reached(self, scripts: ScriptDirectory, current: str | None) -> bool:
        """True where the schema is the wanted one, or (where that is not the newest) any at all."""
        return current is not None if self._revision != "head" else current == scripts.get_current_head()

    def _migrate(self, config: Config) -> None:
        with self._engine.begin() as connection:
            if self._file:  # two processes may create the same store: the second waits, and finds it done
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            elif self.url.drivername.startswith("postgresql"):
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(240113719)")
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, self._revision)
            except CommandError as error:
                message = f"store {self.name} was written by a newer FaceVeil ({error}). Update FaceVeil to read it."
                raise StoreVersionError(message) from None

    def _current_inode(self) -> tuple[int, int] | None:
        if not self._file:
            return None
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _require_file(self) -> None:
        """SQLite writes happily into a file that was deleted; that must not pass for stored."""
        if self._file and self._current_inode() is None:
            raise StoreVanishedError(f"store {self.name} was removed while it was in use. Put it back, or start again.")

    def _reopen_if_replaced(self) -> None:
        self._require_file()
        with self._lock:
            if self._current_inode() != self._inode:  # a backup was restored
                self._engine.dispose()
                with self._translated():
                    self._upgrade()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise _translate(error, self.name) from error
        except PoolTimeoutError:
            raise StoreLockedError(f"store {self.name} has no free connection. Ask again later.") from None
        except NoSuchModuleError as error:
            raise StoreError(f"no such kind of database: {error}. Use a path (SQLite) or a postgresql:// URL.") from None
        except ModuleNotFoundError as error:
            message = f"the driver {error.name!r} is not installed. For PostgreSQL: pip install 'faceveil[postgres]'."
            raise StoreError(message) from None


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the store's folder cannot be made: {disk_problem(error)}") from None


def _require_whole(file: Path) -> None:
    """A file that was emptied, or of which only the log is left, must not become a new store without a word."""
    log = file.with_name(f"{file.name}-wal")
    if not file.exists():
        if log.exists() and log.stat().st_size:
            raise StoreDamagedError(
                f"store {file} is not there, but its log {log.name} is. Put the file back, or remove the log."
            )
        return
    for _ in range(20):  # another process may be making it at this moment
        if not file.is_file() or file.stat().st_size:
            return
        time.sleep(0.1)
    raise StoreDamagedError(f"store {file} is empty: it was emptied, or is no store. Restore a backup, or remove the file.")


def _read_only(file: Path) -> bool:
    """True where the file can be read and not written to: on a disk, in a folder or for a user without that right."""
    if not file.is_file() or not os.access(file, os.R_OK):
        return False
    return not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))


def _engine(url: URL, busy_seconds: float, read_only: bool = False) -> Engine:
    if not url.drivername.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    if read_only:
        file = Path(str(url.database))
        log = file.with_name(f"{file.name}-wal")
        # without a log nothing can be missed, and no lock file has to be made
        still = "" if log.exists() and log.stat().st_size else "&immutable=1"
        address = f"file:{quote(str(file))}?mode=ro{still}"
        reader = create_engine(
            url, creator=lambda: sqlite3.connect(address, uri=True, timeout=busy_seconds, check_same_thread=False)
        )
        event.listen(reader, "connect", _read_damaged_text)
        return reader
    engine = create_engine(url, connect_args={"timeout": busy_seconds})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "connect", _read_damaged_text)
    return engine


def _configure(connection: Any, _: Any) -> None:
    # readers never wait for the writer, nor the writer for readers; the busy timeout is sqlite3's own ``timeout``
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _read_damaged_text(connection: Any, _: Any) -> None:
    # a row of which a bit has flipped is one record that cannot be read, not a query that fails for all
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")


def _translate(error: DBAPIError, name: str) -> StoreError:
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorname", "")
        for start, kind, what in _SQLITE:
            if code.startswith(start):
                return kind(f"store {name} {what}")
    if error.connection_invalidated or "connect" in str(error.orig).lower():
        return StoreVanishedError(f"store {name} cannot be reached: {error.orig}. Is the server up, and the URL right?")
    return StoreError(f"store {name}: {error.orig}.")
