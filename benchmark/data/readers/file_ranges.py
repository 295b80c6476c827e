"""Random access to one large file from several threads and processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from benchmark.data.readers.images import PhotoError


class FileRanges:
    """Reads ranges of one file by position, so that threads and forked processes can share it.

    Positioned reads rather than a mapping of the photos: a file that is cut short meanwhile is an error and not a bus error,
    and pages that were read do not count as memory of this process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - lives as long as the source it serves
        status = os.fstat(self._file.fileno())
        self.length, self.modified = status.st_size, status.st_mtime_ns
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def __reduce__(self) -> tuple[type[FileRanges], tuple[Path]]:
        return FileRanges, (self.path,)  # another process opens the file anew

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``.  Raises PhotoError where the file ends before."""
        if offset + length > self.length:  # before anything is reserved
            raise PhotoError(f"cut short: {self.path.name} ends at byte {self.length}, {offset + length} are needed")
        data = self._pread(offset, length)
        while len(data) < length:  # a signal, or a network file system
            more = self._pread(offset + len(data), length - len(data))
            if not more:
                raise PhotoError(f"cut short: {self.path.name} ends at byte {offset + len(data)}, {offset + length} are needed")
            data += more
        return data

    def _pread(self, offset: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), length, offset)
        with self._lock:  # Windows
            self._file.seek(offset)
            return self._file.read(length)
