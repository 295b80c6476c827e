"""Checks submissions in a process of its own, which may neither write a file nor take more memory and time than it is given.

What a hostile file could do to the process that reads it (exhaust its memory, crash it, hang it) it does to that one; the
server keeps running, and the submission is refused, once a second process has come to the same end.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.interrupts import unheard_by_children
from benchmark.runtime.memory import return_large_blocks
from benchmark.submissions.problems import Problem
from benchmark.submissions.report import Report

SECONDS = 300.0  # for one submission
START_SECONDS = 300.0  # until the process is there
MEMORY = 4 * 2**30  # bytes beyond what the process takes at its start; 119 million weights take 1.0 GiB

MOST_BYTES = 8 * 2**20  # of a report; what comes out of that process is bytes, never a pickle
_DOUBTFUL = frozenset(("check_too_slow", "check_unreadable", "check_ended", "check_memory", "check_failed"))

Check = Callable[[Path], Report]


class CheckerError(FaceVeilError):
    """The checks could not be run, which says nothing of the submission: try again later."""


class Examiner:
    """A process that checks one submission after another; it is started when first needed, and again when it has ended.

    Args:
        seconds: after which a check is ended and its submission refused.
        memory: bytes that a check may take.
        check: what to run there, by default :func:`benchmark.submissions.submission.validate`; must be importable by name.
    """

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY, check: Check | None = None) -> None:
        self.seconds = seconds
        self.memory = memory
        self._check = check
        self._lock = threading.Lock()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def __call__(self, path: Path) -> Report:
        """The report on a submission.  What fails in one process is checked again in a fresh one before it is refused.

        Raises:
            CheckerError: the checks could not be run, whatever the submission is: the process cannot start, or was killed.
        """
        with self._lock:
            first = self._examined(path)
            if isinstance(first, Report) and not _doubtful(first):
                return first
            self._end()
            second = self._examined(path)
            if isinstance(second, CheckerError):
                raise second
            return second

    def _examined(self, path: Path) -> Report | CheckerError:
        """One try: a report (perhaps that the process did not survive), or the error that says the fault is ours."""
        try:
            pipe = self._started()
        except (EOFError, OSError) as error:
            self._end()
            return CheckerError(f"the process of the checks cannot be started ({type(error).__name__}).")
        try:
            pipe.send_bytes(str(path).encode())
            if not pipe.poll(self.seconds):
                return self._failed(path, "check_too_slow", f"The checks were not done after {self.seconds:.0f} s.")
            return Report.model_validate_json(pipe.recv_bytes(MOST_BYTES))
        except ValueError:  # pydantic's ValidationError is one
            return self._failed(path, "check_unreadable", "The report of its checks cannot be read.")
        except (EOFError, OSError):
            if self._killed():
                return CheckerError("the process of the checks was killed.")
            return self._failed(path, "check_ended", "The checks of it ended the process that ran them.")

    def _failed(self, path: Path, code: str, message: str) -> Report:
        self._end()
        return _refused(path, code, message)

    def _killed(self) -> bool:
        """True where the process was ended from outside, which no fault of its own does."""
        assert self._process is not None
        self._process.join(5)
        code = self._process.exitcode
        self._end()
        return code in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._end()

    def _started(self) -> Connection:
        if self._process is not None and self._process.is_alive() and self._pipe is not None:
            return self._pipe
        self._end()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.memory, self._check), daemon=True, name="examiner")
        with unheard_by_children():
            self._process.start()
        theirs.close()
        if not self._pipe.poll(START_SECONDS):
            raise EOFError
        self._pipe.recv_bytes(MOST_BYTES)  # it is ready
        return self._pipe

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _doubtful(report: Report) -> bool:
    """True where the checks did not come to an end: it may have been the process's fault."""
    return any(problem.code in _DOUBTFUL for problem in report.problems)


def _refused(path: Path, code: str, message: str) -> Report:
    remedy = "Submit a smaller model. If `faceveil validate` takes it on your machine, tell the evaluator."
    return Report(path=str(path), problems=(Problem(part="behaviour", code=code, message=message, remedy=remedy),))


def _serve(pipe: Connection, memory: int, check: Check | None) -> None:
    if check is None:
        from benchmark.submissions.validation import load_all, validate  # with torch: seconds, once

        load_all()
        check = validate
    return_large_blocks()
    _confine(memory)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # who asked is gone
        pipe.send_bytes(b"ready")
        while True:
            path = Path(pipe.recv_bytes().decode())
            try:
                report = check(path)
            except MemoryError:
                report = _refused(path, "check_memory", f"The checks of it take more than {memory / 2**30:.0f} GiB of memory.")
            except Exception as error:  # a fault of ours; the type alone, since its text may be the submitter's
                report = _refused(path, "check_failed", f"The checks of it failed ({type(error).__name__}).")
            pipe.send_bytes(report.model_dump_json().encode())


def _confine(memory: int) -> None:
    """Takes from this process what a check does not need."""
    try:
        import resource
    except ImportError:  # not a Unix
        return
    used = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])  # data and stack
        used = pages * os.sysconf("SC_PAGE_SIZE")
    for limit, most in ((resource.RLIMIT_DATA, used + memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(OSError, ValueError):
            _, hard = resource.getrlimit(limit)
            value = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(limit, (value, value))
