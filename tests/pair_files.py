"""Lists of verification pairs as their publishers write them."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def draw_pairs(identity: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(2 count, 2) positions of photos and (2 count,) answers: tenths, each first of one person, then of two.

    Args:
        identity: (N,) person of each photo; at least ``count`` people need two photos.
    """
    rng = np.random.default_rng(seed)
    people = rng.permutation([p for p in np.unique(identity) if (identity == p).sum() > 1])[:count]
    same = np.array([rng.permutation(np.flatnonzero(identity == p))[:2] for p in people])
    others = np.stack([same[:, 0], np.roll(same[:, 1], -1)], axis=1)  # within a fold but for its last
    folds = zip(np.array_split(same, 10), np.array_split(others, 10), strict=True)
    rows = [part for fold in folds for part in fold]
    answers = np.concatenate([np.full(len(part), number % 2 == 0) for number, part in enumerate(rows)])
    return np.concatenate(rows), answers


def write_pairs(path: Path, photos: Sequence[bytes], answers: np.ndarray) -> Path:
    """A ``.bin`` file of 2 N encoded photos and N answers."""
    path.write_bytes(pickle.dumps((list(photos), [bool(answer) for answer in answers]), protocol=2))
    return path
