"""Files and folders under passing names, which are removed whatever ends their writer."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_unfinished: set[Path] = set()


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
