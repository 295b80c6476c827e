"""Cached files with a checksum beside them: what was damaged since it was written is made again, and nobody is misled by it.

The checksum of ``name`` stands in ``.name.sha256``.  A file without one is taken as it is: it was written by an older version,
or by a process that ended between the two.  Each file is tested once a process, and again when it has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.atomic import replacing, write_text

_log = logging.getLogger("faceveil.cache")
_tested: dict[Path, tuple[int, int, int]] = {}


def _seal(path: Path) -> Path:
    return path.with_name(f".{path.name}.sha256")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """As :func:`benchmark.runtime.atomic.replacing`, and leaves the checksum beside the file."""
    _seal(path).unlink(missing_ok=True)  # of the file that is replaced
    with replacing(path) as temporary:
        yield temporary
        digest = _digest(temporary)
    write_text(_seal(path), digest)


def seal(path: Path) -> None:
    """Leaves the checksum of a file that was just written."""
    write_text(_seal(path), _digest(path))


def write_sealed(path: Path, text: str) -> None:
    """A text with its checksum beside it."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_sealed(path: Path, remedy: str) -> str | None:
    """What :func:`write_sealed` wrote; None where there is no such file.

    Raises:
        FaceVeilError: it was damaged, and only the user can have it made again.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if _wanted(path) not in (None, hashlib.sha256(data).hexdigest()):
        raise FaceVeilError(f"{path} was damaged after it had been written: delete it, and {remedy}.")
    return data.decode("utf-8", errors="replace")


def intact(path: Path) -> bool:
    """True where the file is there and is what was written; a damaged one is removed, with a line in the log."""
    try:
        status = path.stat()
    except OSError:
        return False
    mark = (status.st_ino, status.st_mtime_ns, status.st_size)
    if _tested.get(path) == mark:
        return True
    wanted = _wanted(path)
    if wanted is not None and _digest(path) != wanted:
        discard(path, "it is not what was written")
        return False
    _tested[path] = mark
    return True


def discard(path: Path, why: str) -> None:
    """Removes a damaged file, to be made again."""
    _log.warning("cached file %s is damaged (%s) and is made again", path, why)
    _tested.pop(path, None)
    for each in (path, _seal(path)):
        with contextlib.suppress(OSError):
            each.unlink()


def _wanted(path: Path) -> str | None:
    try:
        return _seal(path).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
