"""Runs a command in a process of its own and breaks it at a chosen moment: its disk, its memory, its reader, or by a signal.

Moments are counted: calls of the project's functions (for memory and signals), files opened, made and renamed below the test's
folder (for the disk), and writes to standard output (for the reader).  An undisturbed run tells how many there are.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import benchmark
from benchmark.protocol import registry
from benchmark.protocol.tracks import TRACKS

ROOT = Path(benchmark.__file__).parents[1]
PROJECT = tuple(f"{ROOT / name}{os.sep}" for name in ("benchmark", "attacks", "defenses", "leaderboard"))
HANGS = 240  # seconds after which a command is taken to hang


class Fault(StrEnum):
    """What goes wrong."""

    DISK = "OSError"
    MEMORY = "MemoryError"
    READER = "BrokenPipeError"
    TERM = "SIGTERM"
    INT = "SIGINT"
    KILL = "SIGKILL"

    @property
    def counter(self) -> str:
        """What its moments are counted in."""
        return {Fault.DISK: "files", Fault.READER: "writes"}.get(self, "calls")


@dataclass(frozen=True)
class Ending:
    """How a command ended: ``counts`` of moments, and when the fault happened (time.monotonic; None: it did not)."""

    code: int
    out: str
    err: str
    counts: dict[str, int]
    broken: float | None


class Injector:
    """Counts moments and, at the chosen one, breaks; once."""

    def __init__(self, root: Path, fault: Fault | None, moment: int) -> None:
        self.root, self.fault, self.moment = str(root), fault, moment
        self.counts = {"calls": 0, "files": 0, "writes": 0}
        self.broken: float | None = None

    def install(self) -> None:
        sys.addaudithook(self._audited)
        sys.stdout = _Stdout(self)  # type: ignore[assignment]
        sys.setprofile(self._called)

    def _due(self, counter: str) -> bool:
        self.counts[counter] += 1
        due = self.fault is not None and self.fault.counter == counter and self.counts[counter] == self.moment
        if due:
            self.broken = time.monotonic()
        return due

    def _called(self, frame: Any, event: str, _argument: Any) -> None:
        begins = frame.f_code.co_name == "main"  # nothing can be caught before
        if event != "call" or begins or not frame.f_code.co_filename.startswith(PROJECT) or not self._due("calls"):
            return
        if self.fault is Fault.MEMORY:
            raise MemoryError
        self.tell()
        os.kill(os.getpid(), signal.Signals[self.fault or ""])

    def _audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.mkdir", "os.rename", "os.link") or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if not path.startswith(self.root) or not self._due("files"):
            return
        reads = event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        number = errno.EIO if reads else errno.ENOSPC
        raise OSError(number, os.strerror(number), path)

    def tell(self) -> None:
        """Writes down what was counted, and when it broke."""
        broken, self.fault, fault = self.broken, None, self.fault
        (Path(self.root) / ".injector.json").write_text(json.dumps({"counts": self.counts, "broken": broken}))
        self.fault = fault

    def wrote(self) -> None:
        if self._due("writes"):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class _Stdout:
    """Standard output whose reader may go away."""

    def __init__(self, injector: Injector) -> None:
        self._injector, self._file = injector, os.fdopen(os.dup(1), "w", encoding="utf-8")

    def write(self, text: str) -> int:
        self._injector.wrote()
        return self._file.write(text)

    def fileno(self) -> int:
        return 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def warm() -> None:
    """Imports what commands import, once for all processes that are forked."""
    for name in (
        "evaluation.session",
        "evaluation.inversion.judgement",
        "service.worker",
        "submissions.validation",
        "data.check",
    ):
        importlib.import_module(f"benchmark.{name}")
    importlib.import_module("leaderboard.board.library")
    for known in (registry.defenses, registry.membership_attacks, registry.inversion_attacks):
        known()


def run(arguments: Sequence[str], root: Path, tracks: Sequence[Any], fault: Fault | None = None, moment: int = 0) -> Ending:
    """Runs ``faceveil`` with ``arguments`` in the folder ``root``, whose ``home`` is its home.

    Args:
        tracks: that it knows beside its own.
    """
    root.mkdir(exist_ok=True)
    child = os.fork()
    if child == 0:
        _child(arguments, root, tracks, Injector(root, fault, moment))
    deadline = time.monotonic() + HANGS
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"{arguments} hung after {fault} at {moment}")
        time.sleep(0.01)
    told = json.loads((root / ".injector.json").read_text())
    texts = [(root / name).read_text(errors="replace") for name in (".out", ".err")]
    return Ending(os.waitstatus_to_exitcode(ended[1]), *texts, told["counts"], told["broken"])


def _child(arguments: Sequence[str], root: Path, tracks: Sequence[Any], injector: Injector) -> None:
    code = 70
    try:
        atexit._clear()  # what the tests want done at their end is theirs
        os.setsid()
        os.chdir(root)
        temporary = root / "temporary"
        temporary.mkdir(exist_ok=True)
        os.environ.update(FACEVEIL_HOME=str(root / "home"), OMP_NUM_THREADS="1", COLUMNS="200", TMPDIR=str(temporary))
        tempfile.tempdir = None  # it may be known already
        os.environ.pop("FACEVEIL_STORE_URL", None)
        for number, name in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(root / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", buffering=1)
        sys.argv = ["faceveil", *arguments]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        TRACKS.update({track.name: track for track in tracks})
        from benchmark.cli.entry import main

        injector.install()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        except BaseException:
            traceback.print_exc()
        atexit._run_exitfuncs()
    finally:
        sys.setprofile(None)
        injector.tell()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def left_behind(root: Path) -> list[int]:
    """Processes that still run for a command of this root."""
    mark = f"FACEVEIL_HOME={root / 'home'}\0".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in place.read_bytes() + b"\0":
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found
