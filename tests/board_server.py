"""The board's own launcher on a store of a test's own, for browser tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium")
WAIT = 150_000  # ms, at most, for anything to appear: the machine may be busy
ARGUMENTS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
ARGUMENTS += ["--disable-sync", "--no-first-run"]


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a board on ``folder/store.sqlite`` and no shipped records; uploads are kept in ``folder/quarantine``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "leaderboard.launch", "--port", str(port), "--store", str(folder / "store.sqlite")]
    environment = {**os.environ, "PYTHONPATH": root, "HOME": str(folder), "FACEVEIL_RECORDS": str(folder / "none")}
    environment["FACEVEIL_QUARANTINE"] = str(folder / "quarantine")
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        _wait(f"http://127.0.0.1:{port}/_stcore/health", process)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        assert process.wait(20) in (0, -signal.SIGTERM), "the launcher must end when it is told to"
    assert "Traceback" not in (folder / "log.txt").read_text()


def _wait(url: str, process: subprocess.Popen) -> None:
    for _ in range(300):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not start")
