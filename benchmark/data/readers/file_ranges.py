"""Random access to one large file from several threads and processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from benchmark.data.readers.images import PhotoError


class _Handle:
    def __init__(self, path: Path) -> None:
        self.pid = os.getpid()
        self.file = open(path, "rb")  # noqa: SIM115 - lives as long as its thread

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


class FileRanges:
    """Reads ranges of one file; each thread of each process has its own handle, opened when first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        status = path.stat()
        self.length, self.modified = status.st_size, status.st_mtime_ns
        self._local = threading.local()

    def __reduce__(self) -> tuple[type[FileRanges], tuple[Path]]:
        return FileRanges, (self.path,)  # another process opens the file anew

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``.  Raises PhotoError where the file ends before."""
        handle = getattr(self._local, "handle", None)
        if handle is None or handle.pid != os.getpid():  # a forked child shares its parent's position in the file
            handle = self._local.handle = _Handle(self.path)
        handle.file.seek(offset)
        data = handle.file.read(length)
        if len(data) < length:
            raise PhotoError(f"cut short: {self.path.name} ends at byte {self.length}, {offset + length} are needed")
        return data
