"""Where image files lie: a folder here, archives in ``archives.py``.  Members are indexed once and read in place.

Every container gives ``names`` (paths inside it, sorted), ``key(i)`` (``identity/file``: the name below the folder that
holds all people, so that a folder and an archive of it give the same keys), ``people`` (who is shown), ``read(i)``,
``stamp(i)`` (size and time of modification) and ``rejected`` (what was left out, and why).  Reading is safe from several
threads and after a fork.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.readers.images import MAX_BYTES, SUFFIXES
from benchmark.data.readers.people import NO_PERSON, people_of


class Container:
    """Base: lists its members, drops what is no photo of a person, and finds out who the people are.

    ``note`` says which folders were taken for people.
    """

    def __init__(self, path: Path, people: str | None = None) -> None:
        self.path = path
        self.rejected: list[tuple[str, str]] = []
        found: dict[str, Any] = {}
        for name, member in self._list():
            if name in found:
                self.rejected.append((name, "repeated name: only the first member of this name is used"))
            else:
                found[name] = member
        names = sorted(found)
        person, root, self.note = people_of(names, people, str(path))
        self._skip = len(root)
        self.rejected += [(name, NO_PERSON) for name, who in zip(names, person, strict=True) if not who]
        kept = [(name, who) for name, who in zip(names, person, strict=True) if who]
        self.names = [name for name, _ in kept]
        self._person = [who for _, who in kept]
        self._members = [found[name] for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def key(self, position: int) -> str:
        """The path of a member below the folder that holds all people: ``identity/file``, possibly with folders between."""
        return self.names[position][self._skip :]

    def people(self, positions: np.ndarray) -> np.ndarray:
        """(n,) names of the people on members, see :func:`benchmark.data.readers.people.people_of`."""
        return np.array([self._person[position] for position in positions], dtype=object)

    def read(self, position: int) -> bytes:
        """The bytes of a member's file, at most ``MAX_BYTES`` + 1.  Raises PhotoError or OSError."""
        raise NotImplementedError

    def stamp(self, position: int) -> tuple[int, int]:
        """Size in bytes and modification time in ns of the file that the member is, or lies in."""
        raise NotImplementedError

    def _list(self) -> Iterator[tuple[str, Any]]:
        """Names of acceptable members with what :meth:`read` needs; fills ``rejected``."""
        raise NotImplementedError

    def _acceptable(self, name: str, kind: int, size: int) -> bool:
        """True for a photo by its name, type (as ``stat.S_IFMT`` gives it) and size; others but folders are noted."""
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
        if stat.S_ISDIR(kind) or hidden:  # hidden files and what macOS adds to archives: nobody means these
            return False
        if not stat.S_ISREG(kind):
            reason = "not a regular file: " + ("link" if stat.S_ISLNK(kind) else "device or special file")
        elif not name.lower().endswith(SUFFIXES):
            reason = f"not an image by its name; these are read: {' '.join(SUFFIXES)}"
        elif size > MAX_BYTES:
            reason = f"too large: more than {MAX_BYTES >> 20} MiB"
        else:
            return True
        self.rejected.append((name, reason))
        return False


class FolderContainer(Container):
    """Image files below a folder.  Links to files are followed, links to folders are not (they may form loops)."""

    def _list(self) -> Iterator[tuple[str, tuple[int, int]]]:
        def unreadable(error: OSError) -> None:
            self.rejected.append((str(error.filename), f"unreadable: {error.strerror}"))

        for folder, subfolders, files in os.walk(self.path, onerror=unreadable):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            for name in subfolders:
                if os.path.islink(os.path.join(folder, name)):
                    self.rejected.append((os.path.join(folder, name), "link to a folder: not followed"))
            inside = Path(folder).relative_to(self.path).as_posix()
            for file in files:
                name = file if inside == "." else f"{inside}/{file}"
                try:
                    status = os.stat(os.path.join(folder, file))
                except OSError as error:
                    self.rejected.append((name, f"unreadable: {error.strerror}"))
                    continue
                if self._acceptable(name, stat.S_IFMT(status.st_mode), status.st_size):
                    yield name, (status.st_size, status.st_mtime_ns)

    def read(self, position: int) -> bytes:
        with open(self.path / self.names[position], "rb") as file:
            return file.read(self._members[position][0] + 1)  # a bound: read() of more reserves all of it

    def stamp(self, position: int) -> tuple[int, int]:
        size, modified = self._members[position]
        return size, modified
