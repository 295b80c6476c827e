"""Signals of made-up people whose photos lie near to one another, or less near."""

from __future__ import annotations

import numpy as np

from benchmark.interfaces import Signals
from benchmark.signals.answers import Similarity
from benchmark.signals.pixels import Pixels

SIMILARITY = Similarity()
PIXELS = Pixels()


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def similar_people(people: int, photos: int, near: np.ndarray, seed: int = 0) -> Signals:
    """People (P) whose photos spread by ``near`` (P,) around their person; the pictures tell nothing."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.standard_normal((people, 16)), photos, axis=0)
    spread = np.repeat(near, photos)[:, None]
    values = {
        SIMILARITY.key: unit(centres + spread * rng.standard_normal(centres.shape)),
        PIXELS.key: unit(rng.standard_normal((people * photos, 32))),
    }
    return Signals(values, np.repeat(np.arange(people), photos))
