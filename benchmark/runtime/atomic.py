"""Files and folders that are complete or absent, whatever interrupts the writer."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.runtime.disk import disk_is_full
from benchmark.runtime.unfinished import OLD, PASSING, abandoned, beside, remove

_NEW = "new"  # in a passing folder: the folder that is being written


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; it takes the name when the block ends well, and is removed otherwise.

    The file is on the disk before it takes its name: a machine that loses its power leaves the old one or the new one.
    A link stays one, and what it leads to is replaced; a device or a pipe, such as /dev/stdout, is written to as it is.

    Raises:
        OSError: names the file, also where a library said only that it could not write.
    """
    with _naming(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            yield path
            return
        path = path.resolve() if path.is_symlink() else path
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside(path) as temporary:
            os.chmod(temporary, 0o644)  # mkstemp's files are its owner's alone; results are for others, too
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)


@contextmanager
def replacing_folder(out: Path) -> Iterator[Path]:
    """The same of a folder: yields an empty one, which becomes ``out`` when the block ends well; an older ``out`` goes."""
    out = out.resolve()
    with _naming(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        _recover(out)
        with beside(out, folder=True) as work:
            new = work / _NEW
            new.mkdir()
            yield new
            _exchange(new, out, work / OLD)


def _recover(out: Path) -> None:
    """Ends what a writer began that was killed: where the older folder had gone already, the new one was complete."""
    for work in abandoned(out.parent, out.name):
        if (work / OLD).exists() and not out.exists():
            os.replace(work / _NEW, out)
        remove(work)


def _exchange(new: Path, out: Path, old: Path) -> None:
    """Puts ``new`` where ``out`` is.  No folder can be renamed onto a full one: the older steps aside and, on failure, back."""
    if not out.exists():
        os.replace(new, out)
        return
    try:
        os.replace(out, old)
        os.replace(new, out)
    except BaseException:
        if old.exists() and not out.exists():
            os.replace(old, out)
        raise


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of the disk in the block name what was to be written, not its passing name; any other stays as it is."""
    try:
        yield
    except Exception as error:
        if disk_is_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if isinstance(error, OSError) and error.errno is not None and _passes(error.filename):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _passes(name: object) -> bool:
    """True of no name, and of one with a passing part."""
    return name is None or any(part.startswith(".") and part.endswith(PASSING) for part in Path(str(name)).parts)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Writes a whole file at once."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
