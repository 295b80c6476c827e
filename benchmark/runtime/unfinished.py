"""Files and folders under passing names, which are removed whatever ends their writer.

Of a writer that was killed (SIGKILL, power failure) they are removed a day later, by whoever uses the folder next.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PASSING = ".part"
LIFE = 86_400.0  # seconds that an abandoned file or folder is kept, and between two looks for such
_LOOKED = ".looked"  # its time says when a folder was last looked through
_WRITER = re.compile(rf"\.(\d+)\.\w+\{PASSING}")
_unfinished: set[Path] = set()


def passing_prefix(name: str) -> str:
    """How the passing name of ``name`` begins: it names this process; :data:`PASSING` is its end."""
    return f".{name[:40]}.{os.getpid()}."


def remove_abandoned(folder: Path) -> None:
    """Removes what killed writers left below ``folder`` more than a day ago; looks at most once a day."""
    mark, before = folder / _LOOKED, time.time() - LIFE
    with suppress(OSError):  # one that is not ours to write in
        if mark.exists() and mark.stat().st_mtime > before:
            return
        mark.touch()
        for path in folder.rglob(f"*{PASSING}"):
            if path.lstat().st_mtime < before and not _lives(path.name):
                _remove(path)


def _lives(name: str) -> bool:
    """True where the process that a passing name names still runs on this machine."""
    writer = _WRITER.search(name)
    if writer is None:
        return False
    try:
        os.kill(int(writer[1]), 0)
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
        _remove(path)
        _unfinished.discard(path)


def remove_unfinished() -> None:
    """Removes all that is half-written: for a process that ends without leaving its blocks."""
    for path in tuple(_unfinished):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
