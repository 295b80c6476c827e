"""Failures of disks and folders, told in words: what cannot be written, where, and what to do."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmark.runtime.home import home

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_WRITERS = ("PytorchStreamWriter failed", "unexpected pos", "basic_ios::clear", "No space left", "Disk quota exceeded")


def disk_is_full(error: BaseException) -> bool:
    """Whether an error, or what led to it, says that a disk is full.

    torch's writer says so only by a RuntimeError of its own ("PytorchStreamWriter failed writing file"), safetensors by a text.
    """
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno in _FULL:
            return True
        if not isinstance(link, OSError) and any(text in str(link) for text in _WRITERS):
            return True
    return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def disk_problem(error: BaseException) -> str | None:
    """One sentence on a failure of disk or folder: which one, what is wrong and what to do; None: it is no such failure."""
    if disk_is_full(error):
        return f"{_where(error)} is full: free some space{_free(error)}, or give another folder{_variable(error)}."
    failure = next((link for link in _chain(error) if isinstance(link, OSError) and link.filename is not None), None)
    if failure is None:
        return None
    path = Path(os.fsdecode(failure.filename))
    reasons = {
        errno.EACCES: f"{path} cannot be used: you may not write or read there",
        errno.EPERM: f"{path} cannot be used: you may not write or read there",
        errno.EROFS: f"{path} cannot be written: its disk is read-only",
        errno.ENOTDIR: f"{path} cannot be used: a part of it is a file, not a folder",
        errno.EEXIST: f"{path} cannot be made: something of that name is there",
        errno.ENOENT: f"{path} does not exist",
        errno.EISDIR: f"{path} is a folder, not a file",
        errno.ENAMETOOLONG: f"{str(path)[:80]}... is too long a path",
        errno.EMFILE: "too many files are open: raise the limit (`ulimit -n`)",
        errno.EIO: f"{path} cannot be read or written: its disk failed",
    }
    reason = reasons.get(failure.errno or 0, f"{path}: {failure.strerror or failure}")
    return f"{reason}. Give another path{_variable(error)}."


def _paths(error: BaseException) -> Iterator[Path]:
    for link in _chain(error):
        for name in (getattr(link, "filename", None), getattr(link, "filename2", None)):
            if isinstance(name, str | bytes | os.PathLike):
                yield Path(os.fsdecode(name))


def _where(error: BaseException) -> str:
    """The folder that is full: that of the file where the error names one, else the one below which least is left."""
    for path in _paths(error):
        return f"the disk of {path.parent}"
    return f"the disk of {home()}"


def _free(error: BaseException) -> str:
    folder = next((path.parent for path in _paths(error)), home())
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        left = shutil.disk_usage(folder).free
    except OSError:
        return ""
    return f" ({left / 2**20:.0f} MiB are left)"


def _variable(error: BaseException) -> str:
    """The environment variable that moves what lies below the home."""
    below = [path for path in _paths(error) if path.is_relative_to(home()) or home().is_relative_to(path)]
    named = any(True for _ in _paths(error))
    return " (the environment variable FACEVEIL_HOME says where FaceVeil keeps its files)" if below or not named else ""
