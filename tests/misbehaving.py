"""Checks of submissions that do what a hostile file might make them do; light to import, for processes of their own."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from card_factory import make_card

from benchmark.submissions.problems import Problem
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


class Unreadable:
    """What a check may return if it is taken over."""

    def model_dump_json(self) -> str:
        return "[" * 500 + "]" * 500


def unreadable(_path: Path) -> Report:
    """Returns what is no report."""
    return Unreadable()  # type: ignore[return-value]


def crash_once(path: Path) -> Report:
    """Ends the process the first time."""
    mark = path.parent / "crashed"
    if not mark.exists():
        os.mkdir(mark)  # the process may write no file
        os.kill(os.getpid(), 11)
    return Report(path=str(path))


def killed(_path: Path) -> Report:
    """Is killed, as by an operator or a machine without memory."""
    os.kill(os.getpid(), 9)
    raise AssertionError


def slow(path: Path) -> Report:
    """Takes everything, after a while."""
    from card_factory import make_card

    time.sleep(0.3)
    return Report(path=str(path), submission_id="a" * 64, weights_sha256="b" * 64, card=make_card())


def by_content(path: Path) -> Report:
    """What the file says of itself: honest ones are taken, others are refused, crash, are unreadable, or take too long."""
    data = path.read_bytes()
    kind = data.split(b" ", 1)[0]
    if kind == b"crash":
        crash(path)
    if kind == b"slow":
        time.sleep(3)
    if kind == b"deep":
        return unreadable(path)
    if kind == b"refused":
        problem = Problem(part="card", code="odd", message="It is odd.", remedy="Mend it.")
        return Report(path=str(path), problems=(problem,))
    digest = hashlib.sha256(data).hexdigest()
    return Report(
        path=str(path),
        submission_id=digest,
        weights_sha256=digest,
        card=make_card(name=data.decode()[:40], team=data.decode().split()[1]),
    )
