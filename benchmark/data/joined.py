"""Photos of several sets, put together under labels of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from benchmark.interfaces import FaceVeilError, Photos, content_hash


class JoinedPhotos:
    """The photos of several sets, one after the other; implements :class:`benchmark.interfaces.Photos`.

    Args:
        parts: sets of photos of one size.
        identity: (N,) the person as whom each photo counts, whatever its own set says.

    Raises:
        FaceVeilError: another number of people than of photos.
    """

    def __init__(self, parts: Sequence[Photos], identity: np.ndarray) -> None:
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])
        self._rows = np.arange(self._starts[-1])
        self.identity = np.asarray(identity, np.int64)
        if len(self.identity) != len(self._rows):
            raise FaceVeilError(f"{len(self._rows)} photos were joined, and people given for {len(self.identity)}.")

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def keys(self) -> Sequence[str]:
        """(N,) the names that the photos have in their own sets, behind the number of the set."""
        names = [f"{number}/{key}" for number, part in enumerate(self._parts) for key in part.keys]
        return [names[row] for row in self._rows]

    @cached_property
    def digest(self) -> str:
        """Hash of the sets, of the photos taken from them, and of who counts as whom."""
        rows = hashlib.sha256(self._rows.astype("<i8").tobytes() + self.identity.astype("<i8").tobytes()).hexdigest()
        return content_hash("joined", [part.digest for part in self._parts], rows)

    def load(self, index: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Photos as uint8 (B, 3, H, W), RGB."""
        rows = self._rows[np.asarray(index, np.int64)]
        number = np.searchsorted(self._starts, rows, side="right") - 1
        if not len(rows):
            return self._parts[0].load(rows)
        photos: torch.Tensor | None = None
        for i in np.unique(number):
            where = np.flatnonzero(number == i)
            loaded = self._parts[i].load(rows[where] - self._starts[i])
            if photos is None:
                photos = loaded.new_empty((len(rows), *loaded.shape[1:]))
            photos[torch.from_numpy(where)] = loaded
        assert photos is not None
        return photos

    def take(self, index: Sequence[int] | np.ndarray) -> JoinedPhotos:
        """Some of the photos, in the order of ``index`` (int, or a mask)."""
        index = np.asarray(index)
        chosen = np.arange(len(self))[index if index.dtype == bool else index.astype(np.int64)]
        part = JoinedPhotos(self._parts, np.zeros(self._starts[-1]))
        part._rows, part.identity = self._rows[chosen], self.identity[chosen]
        return part
