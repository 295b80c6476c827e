"""Messages for faults that are not the project's: a disk, memory, a reader that went away."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import TextIO

from benchmark.runtime.disk import disk_problem
from benchmark.runtime.memory import out_of_memory

_TILDE = re.compile(r"(--?[A-Za-z][\w-]*=)?~(?=/|$)")


def expand_tildes(arguments: list[str]) -> list[str]:
    """Arguments with ``~`` expanded where a shell leaves it: behind ``=`` and in quotes."""
    return [_TILDE.sub(lambda found: (found[1] or "") + os.path.expanduser("~"), one, count=1) if _starts(one) else one
            for one in arguments]  # fmt: skip


def _starts(argument: str) -> bool:
    return _TILDE.match(argument) is not None


def print_everything(streams: tuple[TextIO, ...]) -> None:
    """Names in any script can be printed whatever code page a console or a file has: what it lacks is escaped."""
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with contextlib.suppress(OSError, ValueError):
                reconfigure(errors="backslashreplace")


def told(error: BaseException) -> str | None:
    """One sentence about a fault of disk or memory, with its remedy; None where it is neither."""
    if out_of_memory(error):
        return "there is not enough memory. End other programs, pass fewer --workers, or use a smaller model or batch."
    if isinstance(error, FileNotFoundError) and error.filename is None and not _is_somewhere():
        return "the folder in which this was started is gone: change to another."
    return disk_problem(error)


def _is_somewhere() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def unwritable(stream: TextIO, error: Exception) -> str | None:
    """Why nothing can be printed any more, where that led to ``error``; None where it can."""
    if not isinstance(error, OSError) or error.filename is not None:
        return None
    try:
        stream.write("\n")  # a device that is full takes nothing else but nothing
        stream.flush()
    except OSError as full:
        return f"what is printed cannot be written: {full.strerror or full}."
    return None


def close_quietly() -> None:
    """Nobody reads what is printed any more, so nothing more is printed, not even at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
