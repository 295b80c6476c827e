"""Where FaceVeil keeps what outlives a command: the folder ``FACEVEIL_HOME``, by default ``~/.faceveil``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.unfinished import remove_abandoned_below


def home() -> Path:
    """The folder itself; it may not exist yet."""
    try:
        return Path(os.environ.get("FACEVEIL_HOME") or Path.home() / ".faceveil").expanduser()
    except RuntimeError:  # a user without a home, as in a container
        raise FaceVeilError("this user has no home folder: set FACEVEIL_HOME to a folder that can be written to.") from None


def cache_dir() -> Path:
    """What can be computed again: signals, shadow backbones, generated photos.  Created on demand."""
    return _created("cache")


def runs_dir() -> Path:
    """Trained entries and their evaluations.  Created on demand."""
    return _created("runs")


def logs_dir() -> Path:
    """What long commands wrote down of their steps.  Created on demand."""
    return _created("logs")


def gallery_dir(submission_id: str) -> Path:
    """Where the board of this machine looks for pictures of a submission's inversion; it may not exist yet."""
    return home() / "galleries" / submission_id[:16]


@contextmanager
def empty_home() -> Iterator[Path]:
    """A home of its own in which nothing is cached, for measurements; it is removed at the end, and the user's is back."""
    before = os.environ.get("FACEVEIL_HOME")
    with tempfile.TemporaryDirectory(prefix="faceveil-bench-") as folder:
        os.environ["FACEVEIL_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["FACEVEIL_HOME"]
            else:
                os.environ["FACEVEIL_HOME"] = before


def _created(name: str) -> Path:
    path = home() / name
    path.mkdir(parents=True, exist_ok=True)
    remove_abandoned_below(path)
    return path
