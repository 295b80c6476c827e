"""Photos that show no face: what no face-recognition backbone should have a use for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from benchmark.interfaces import content_hash


class PatternPhotos:
    """Squares of random colours, ``grid`` x ``grid`` in a photo; with ``grid`` 1 a photo is blank.  Implements ``Photos``.

    Args:
        numbers: (N,) which of the seed's patterns; each counts as a person of its own.
        size: side in pixels.
    """

    def __init__(self, numbers: Sequence[int] | np.ndarray, size: int, grid: int, seed: int) -> None:
        self.identity = np.asarray(numbers, np.int64)
        self.keys: Sequence[str] = [f"pattern-{grid}/{number:05d}" for number in self.identity]
        self.digest = content_hash("pattern", self.identity.tolist(), size, grid, seed)
        self._settings = (size, grid, seed)

    def __len__(self) -> int:
        return len(self.identity)

    def load(self, index: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Photos as uint8 (B, 3, size, size), RGB."""
        size, grid, seed = self._settings
        wanted = self.identity[np.asarray(index, np.int64)]
        colours = [np.random.default_rng([seed, grid, number]).integers(0, 256, (3, grid, grid)) for number in wanted]
        squares = torch.from_numpy(np.array(colours, np.uint8).reshape(-1, 3, grid, grid))
        return F.interpolate(squares, size=(size, size), mode="nearest")

    def take(self, index: Sequence[int] | np.ndarray) -> PatternPhotos:
        """Some of the photos, in the order of ``index`` (int, or a mask)."""
        index = np.asarray(index)
        return PatternPhotos(self.identity[index if index.dtype == bool else index.astype(np.int64)], *self._settings)
