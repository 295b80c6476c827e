"""The log of a long command: ``FACEVEIL_HOME/logs/<date>-<time>-<command>-<process>.log``, a line with its time for each step.

What a terminal shows while a command runs is gone afterwards; this stays.  The newest :data:`KEPT` are kept.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.home import logs_dir

KEPT = 100
_log = logging.getLogger("faceveil")
_file: logging.FileHandler | None = None
failed: Path | None = None  # the log of the command that just failed in this process


class _Screen(logging.Handler):
    """Warnings on the screen, where they go by themselves as long as no handler stands."""

    def emit(self, record: logging.LogRecord) -> None:
        if logging.lastResort is not None and not logging.getLogger().handlers:
            logging.lastResort.handle(record)


def note(text: str) -> None:
    """A line of the log of the command that runs; nothing where none is open.  Other handlers never see it."""
    if _file is not None:
        _file.handle(logging.LogRecord(_log.name, logging.INFO, "", 0, text, (), None))


@contextlib.contextmanager
def opened(arguments: list[str] | None = None) -> Iterator[None]:
    """Writes a log while open: the command, its steps, warnings of caches and stores, and how it ended.

    A home that cannot be written to costs the log and nothing else.
    """
    words = sys.argv[1:] if arguments is None else arguments
    global failed, _file
    failed = None
    handler = _begin(words)
    if handler is None:
        yield
        return
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    handlers: list[logging.Handler] = [handler, _Screen(logging.WARNING)]
    for each in handlers:
        _log.addHandler(each)
    _file = handler
    started = time.monotonic()
    note(f"faceveil {' '.join(_harmless(words))}")
    try:
        yield
        note(f"done after {time.monotonic() - started:.0f} s")
    except BaseException as error:
        failed = Path(handler.baseFilename)
        reason = " ".join(str(error).split())
        note(f"ended after {time.monotonic() - started:.0f} s by {type(error).__name__}: {reason}")
        raise
    finally:
        _file = None
        for each in handlers:
            _log.removeHandler(each)
        with contextlib.suppress(OSError):
            handler.close()


class _Handler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A disk that is full costs the line; logging would print a traceback."""


def _begin(words: list[str]) -> _Handler | None:
    """The file to write; older ones beyond :data:`KEPT` are removed."""
    command = next((word for word in words if word.isidentifier() or word.replace("-", "").isalpha()), "faceveil")
    with contextlib.suppress(OSError, FaceVeilError):
        folder = logs_dir()
        for old in sorted(folder.glob("*.log"))[: -(KEPT - 1)]:
            old.unlink(missing_ok=True)
        file = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}-{os.getpid()}.log"
        return _Handler(file, encoding="utf-8")
    return None


def _harmless(words: list[str]) -> list[str]:
    """The words of a command without a team's token."""
    shown = []
    for before, word in zip(["", *words], words, strict=False):
        if before == "--token":
            word = "(hidden)"
        elif word.startswith("--token="):
            word = "--token=(hidden)"
        shown.append(word)
    return shown
