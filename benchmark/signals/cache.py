"""Signals on disk: one ``.npy`` each, named by content, written row by row, read memory-mapped, complete or absent."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from benchmark.runtime.checked import intact, writing
from benchmark.runtime.unfinished import beside


class SignalFiles:
    """Arrays by signal key, in ``folder`` or (None) in memory.

    Args:
        names: the content name of each key; equal names hold equal arrays.
    """

    def __init__(self, folder: Path | None, names: Mapping[str, str]) -> None:
        self._folder = folder
        self._names = names
        self._memory: dict[str, np.ndarray] = {}

    def _path(self, folder: Path, key: str) -> Path:
        return folder / f"{self._names[key]}.npy"

    def has(self, key: str) -> bool:
        """True where the array is complete on disk."""
        return self._folder is not None and intact(self._path(self._folder, key))

    def read(self, key: str) -> np.ndarray:
        """The array, memory-mapped where it is on disk."""
        if self._folder is None:
            return self._memory[key]
        result: np.ndarray = np.load(self._path(self._folder, key), mmap_mode="r")
        return result

    @contextmanager
    def writing(self, n: int) -> Iterator[Callable[[str, int, np.ndarray], None]]:
        """Yields ``write(key, start, rows)``; files take their names only when the block ends well."""
        folder = self._folder
        if folder is None:
            yield from self._writing_to_memory(n)
            return
        folder.mkdir(parents=True, exist_ok=True)
        files: dict[str, _RowFile] = {}
        with ExitStack() as passing:

            def write(key: str, start: int, rows: np.ndarray) -> None:
                if key not in files:
                    files[key] = _RowFile(passing, folder, (n, *rows.shape[1:]))
                files[key].write(start, rows)

            yield write
            for key, file in files.items():
                file.finish(self._path(folder, key))

    def _writing_to_memory(self, n: int) -> Iterator[Callable[[str, int, np.ndarray], None]]:
        arrays: dict[str, np.ndarray] = {}

        def write(key: str, start: int, rows: np.ndarray) -> None:
            if key not in arrays:
                arrays[key] = np.empty((n, *rows.shape[1:]), np.float32)
            arrays[key][start : start + len(rows)] = rows

        yield write
        self._memory.update(arrays)


class _RowFile:
    """A ``.npy`` of float32 under a passing name, removed with ``passing``; rows go to the file and none stays in memory."""

    def __init__(self, passing: ExitStack, folder: Path, shape: tuple[int, ...]) -> None:
        self._path = passing.enter_context(beside(folder / "signal"))
        self._file = passing.enter_context(self._path.open("wb"))
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._first, self._row = self._file.tell(), 4 * math.prod(shape[1:])

    def write(self, start: int, rows: np.ndarray) -> None:
        """Rows ``start`` and following."""
        self._file.seek(self._first + start * self._row)
        self._file.write(np.ascontiguousarray(rows, "<f4").tobytes())

    def finish(self, path: Path) -> None:
        """Takes its name."""
        self._file.close()
        with writing(path) as temporary:
            os.replace(self._path, temporary)
