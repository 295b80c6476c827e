"""Where uploads are kept: one folder, one zip a job, nothing ever unpacked.

A zip is written under a temporary name and takes its own when it is whole and on the disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from benchmark.runtime.home import home
from benchmark.service.database import StoreError

_JOB = re.compile(r"[0-9a-f]{16}")
_PART = ".part"


class QuarantineError(StoreError):
    """The quarantine folder cannot be used."""


class TooLargeError(QuarantineError):
    """An upload has more bytes than it may."""


class DiskFullError(QuarantineError):
    """There is no room for an upload."""


def quarantine_folder() -> Path:
    """``FACEVEIL_QUARANTINE``, else ``quarantine`` in the home; workers on other machines need the same folder."""
    return Path(os.environ.get("FACEVEIL_QUARANTINE") or home() / "quarantine").expanduser()


class Incoming:
    """An upload that is arriving: bytes in, size and sha256 out."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._sha256 = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Appends some bytes.

        Raises:
            TooLargeError: they are more than the limit; checked before they are written.
        """
        self.size += len(chunk)
        if self.size > self._limit:
            raise TooLargeError(f"the upload has more than {self._limit} bytes. Submit a smaller model.")
        with _told():
            self._stream.write(chunk)
        self._sha256.update(chunk)

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._sha256.hexdigest()


class Quarantine:
    """The folder of uploads.

    Args:
        folder: default :func:`quarantine_folder`; created when first written to, readable by its owner alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = quarantine_folder() if folder is None else Path(folder)

    def path(self, job_id: str) -> Path:
        """Where the zip of a job lies, or would."""
        if not _JOB.fullmatch(job_id):
            raise QuarantineError(f"{job_id[:40]!a} is not the id of a job.")
        return self.folder / f"{job_id}.zip"

    @contextmanager
    def receive(self, job_id: str, limit: int) -> Iterator[Incoming]:
        """Takes an upload of at most ``limit`` bytes; the job's zip is there, whole, when the block ends well, else not at all.

        Raises:
            TooLargeError, DiskFullError, QuarantineError: nothing is kept.
        """
        path = self.path(job_id)
        part = path.with_suffix(_PART)
        try:
            with _told():
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                stream = part.open("xb")
            with stream:
                incoming = Incoming(stream, limit)
                yield incoming
                with _told():
                    stream.flush()
                    os.fsync(stream.fileno())
            with _told():
                os.replace(part, path)
                _sync_folder(self.folder)
        finally:
            part.unlink(missing_ok=True)

    def discard(self, job_id: str) -> None:
        """Removes the zip of a job that is over."""
        with _told():
            self.path(job_id).unlink(missing_ok=True)

    def clean(self, known: Iterable[str], older_than: float) -> list[str]:
        """Removes files that belong to none of the ``known`` jobs and are older than so many seconds; returns their names."""
        keep = {self.path(job).name for job in known}
        removed: list[str] = []
        if not self.folder.is_dir():
            return removed
        for file in sorted(self.folder.iterdir()):
            ours = file.suffix in (".zip", _PART) and _JOB.fullmatch(file.stem)
            if ours and file.name not in keep and _age(file) > older_than:
                file.unlink(missing_ok=True)
                removed.append(file.name)
        return removed


def _age(file: Path) -> float:
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)  # the name, too, survives a power failure
    finally:
        os.close(handle)


@contextmanager
def _told() -> Iterator[None]:
    """Failures of the disk in words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFullError("the disk for uploads is full. Nothing was kept; try again later.") from None
        raise QuarantineError(f"the folder for uploads cannot be used: {error.strerror}.") from None
