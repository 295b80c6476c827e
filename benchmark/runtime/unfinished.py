"""Files and folders under passing names, which are removed whatever ends their writer.

Their names tell the writer.  What one left that was killed (SIGKILL, power failure) is removed by whoever writes to the same
place next; a writer of another machine or container cannot be asked, so that what it left goes a day later.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

PASSING = ".part"
INCOMPLETE = ".incomplete"  # in a folder that is written in place, until it is whole: who was interrupted writes it anew
OLD = "old"  # in a passing folder: the folder that the new one replaces
LIFE = 86_400.0  # seconds that something of an unknown writer is kept, and between two looks for such
BETWEEN = 60.0  # seconds between two looks of a process through a folder that it writes to
_LOOKED = ".looked"  # its time says when a folder was last looked through
_NAME = re.compile(rf"\.(?P<name>.+)\.(?P<machine>[0-9a-f]{{8}})-(?P<process>\d+)\.\w+\{PASSING}", re.DOTALL)
_unfinished: set[Path] = set()
_next_look: dict[Path, float] = {}


@contextmanager
def beside(out: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yields a new file (or folder) of a passing name, hidden in the folder of ``out``; see :func:`removed_at_the_end`."""
    remove_abandoned_now_and_then(out.parent)
    prefix = passing_prefix(out.name, os.getpid())
    if folder:
        path = Path(tempfile.mkdtemp(dir=out.parent, prefix=prefix, suffix=PASSING))
    else:
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=prefix, suffix=PASSING)
        os.close(handle)
        path = Path(name)
    with removed_at_the_end(path):
        yield path


def passing_prefix(name: str, process: int) -> str:
    """How the passing name of ``name`` begins where a process of this machine writes it."""
    return f".{_short(name)}.{_machine()}-{process}."


def _short(name: str) -> str:
    """A name that leaves room for the rest, and stays one of its own."""
    return name if len(name) <= 40 else f"{name[:31]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


@cache
def _machine() -> str:
    """What tells apart machines, and containers: process numbers mean something within one only."""
    told = [socket.gethostname()]
    with suppress(OSError):
        told.append(Path("/etc/machine-id").read_text(encoding="ascii", errors="replace"))
    with suppress(OSError):
        told.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]


def is_taken(out: Path) -> bool:
    """Whether a folder that is to be written in place is none, or holds more than what an interrupted writer left."""
    return out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / INCOMPLETE).exists()))


def abandoned(folder: Path, name: str | None = None) -> list[Path]:
    """What killed writers left half-written in a folder itself; ``name``: of this file or folder only."""
    with suppress(OSError):  # no folder, or one that is not ours to look into
        found = [(path, _NAME.fullmatch(path.name)) for path in folder.iterdir()]
        wanted = None if name is None else _short(name)
        return [path for path, told in found if told and wanted in (None, told["name"]) and _is_abandoned(path)]
    return []


def remove_abandoned(folder: Path) -> None:
    """Removes what killed writers left half-written in a folder itself, but not the older folder that was being replaced."""
    for path in abandoned(folder):
        if not (path / OLD).exists():
            remove(path)


def remove_abandoned_now_and_then(folder: Path) -> None:
    """The same where many files are written: a process looks through a folder once a minute at most."""
    now = time.monotonic()
    if now >= _next_look.get(folder, 0.0):
        _next_look[folder] = now + BETWEEN
        remove_abandoned(folder)


def remove_abandoned_below(folder: Path) -> None:
    """Removes what killed writers left anywhere below a folder of ours; looks at most once a day."""
    mark = folder / _LOOKED
    with suppress(OSError):  # one that is not ours to write in
        if mark.exists() and mark.stat().st_mtime > time.time() - LIFE:
            return
        mark.touch()
        for path in folder.rglob(f"*{PASSING}"):
            if _is_abandoned(path):
                remove(path)


def _is_abandoned(path: Path) -> bool:
    """True where the writer that a passing name names has ended, or, if nobody can say, a day has passed."""
    name = _NAME.fullmatch(path.name)
    if name is not None and name["machine"] == _machine():
        return not _lives(int(name["process"]))
    with suppress(OSError):
        return path.lstat().st_mtime < time.time() - LIFE
    return False  # its writer removed it just now


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


@contextmanager
def removed_at_the_end(path: Path) -> Iterator[Path]:
    """Removes a passing file or folder when the block ends, however it does, also by :func:`remove_unfinished`."""
    _unfinished.add(path)
    try:
        yield path
    finally:
        remove(path)
        _unfinished.discard(path)


def remove_unfinished() -> None:
    """Removes all that is half-written: for a process that ends without leaving its blocks."""
    for path in tuple(_unfinished):
        remove(path)


def remove(path: Path) -> None:
    """Removes a file or a folder with all in it, as far as that can be done."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
