"""A board of its own in another process, for measuring it and for pictures of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.interfaces import FaceVeilError

Process = subprocess.Popen[bytes]


@contextmanager
def serving(folder: Path, records: Path) -> Iterator[tuple[Process, int]]:
    """The launcher on an empty store in ``folder`` and on a folder of record files; process and port, until the block ends.

    Raises:
        FaceVeilError: it did not start.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "leaderboard.launch", "--port", str(port), "--store", str(folder / "store.sqlite")]
    # a home of its own: digests of made-up records are nobody else's
    environment = {**os.environ, "FACEVEIL_RECORDS": str(records), "FACEVEIL_HOME": str(folder / "home")}
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait(f"http://127.0.0.1:{port}/_stcore/health", process, folder / "log.txt")
        yield process, port
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str, process: Process, log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise FaceVeilError(f"the board did not start: {log.read_text()[-500:]}")
