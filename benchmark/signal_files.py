"""Signals on disk: one ``.npy`` each, named by content, memory-mapped, complete or absent."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np


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
        return self._folder is not None and self._path(self._folder, key).exists()

    def read(self, key: str) -> np.ndarray:
        """The array, memory-mapped where it is on disk."""
        if self._folder is None:
            return self._memory[key]
        return np.load(self._path(self._folder, key), mmap_mode="r")

    @contextmanager
    def writing(self, n: int) -> Iterator[Callable[[str, int, np.ndarray], None]]:
        """Yields ``write(key, start, rows)``; files take their names only when the block ends well."""
        arrays: dict[str, np.ndarray] = {}
        unfinished: dict[str, Path] = {}

        def write(key: str, start: int, rows: np.ndarray) -> None:
            if key not in arrays:
                arrays[key] = self._new(key, (n, *rows.shape[1:]), unfinished)
            arrays[key][start : start + len(rows)] = rows

        try:
            yield write
            if self._folder is None:
                self._memory.update(arrays)
            for key in list(unfinished):
                arrays[key].flush()  # type: ignore[attr-defined]
                os.replace(unfinished.pop(key), self._path(self._folder, key))  # type: ignore[arg-type]
        finally:
            for path in unfinished.values():
                path.unlink(missing_ok=True)

    def _new(self, key: str, shape: tuple[int, ...], unfinished: dict[str, Path]) -> np.ndarray:
        if self._folder is None:
            return np.empty(shape, np.float32)
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, path = tempfile.mkstemp(dir=self._folder, suffix=".part")
        os.close(handle)
        unfinished[key] = Path(path)
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
