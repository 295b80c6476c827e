"""Checks of submissions that do what a hostile file might make them do; light to import, for processes of their own."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmark.submissions.report import Report


def hang(_path: Path) -> Report:
    """Never ends."""
    time.sleep(600)
    raise AssertionError


def crash(_path: Path) -> Report:
    """Ends the process as a fault in native code would."""
    os.kill(os.getpid(), 11)
    raise AssertionError


def hog(path: Path) -> Report:
    """Takes 4 GiB."""
    blocks = [bytearray(64 * 2**20) for _ in range(64)]
    return Report(path=str(len(blocks)) + str(path))


def write(path: Path) -> Report:
    """Writes beside the submission."""
    (path.parent / "escaped").write_bytes(b"x" * 100)
    return Report(path=str(path))
