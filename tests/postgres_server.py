"""A PostgreSQL server of the tests' own: a cluster in a temporary folder, reached by a socket, run by an ordinary user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

NUMBERS = count()


def programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``; None: not installed."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def _user() -> str | None:
    """Whom the server runs as: it refuses to be root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


class Server:
    """A running server; every database is new."""

    def __init__(self, folder: Path, bin_folder: Path, user: str | None) -> None:
        self.folder, self._bin, self._user = folder, bin_folder, user
        self._process: subprocess.Popen[bytes] | None = None

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(self._bin / name), *arguments]
        done = subprocess.run(command, user=self._user, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr}")

    def create(self) -> None:
        """Makes the cluster."""
        self._run(
            "initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", "faceveil", "--no-sync", "--locale=C", "-E", "UTF8"
        )

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        settings = {"listen_addresses": "", "unix_socket_directories": self.folder, "fsync": "off", "max_connections": 200}
        flags = [text for key, value in settings.items() for text in ("-c", f"{key}={value}")]
        log = (self.folder / "log.txt").open("ab")
        command = [str(self._bin / "postgres"), "-D", str(self.folder / "data"), *flags]
        self._process = subprocess.Popen(command, user=self._user, cwd=self.folder, stdout=log, stderr=log)
        log.close()
        for _ in range(200):
            try:
                self.execute("SELECT 1")
                return
            except Exception:
                time.sleep(0.05)
        raise RuntimeError((self.folder / "log.txt").read_text())

    def stop(self) -> None:
        """Ends the server at once, as a power failure would."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: immediate shutdown
            self._process.wait()
            self._process = None

    def url(self, database: str = "postgres") -> str:
        """The address of a database."""
        return f"postgresql://faceveil@/{database}?host={self.folder}"

    def execute(self, statement: str) -> None:
        """Runs a statement on the maintenance database."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def database(self) -> str:
        """The address of a new, empty database."""
        name = f"test{next(NUMBERS)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)


@contextmanager
def running() -> Iterator[Server]:
    """A server for the length of the block."""
    bin_folder, user = programs(), _user()
    assert bin_folder is not None
    folder = Path(tempfile.mkdtemp(prefix="faceveil-pg-"))  # short, since a socket's path may have 107 bytes
    server = Server(folder, bin_folder, user)
    try:
        if user is not None:
            shutil.chown(folder, user)
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
