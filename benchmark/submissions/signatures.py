"""Distances between signatures of backbones (:mod:`benchmark.submissions.probes`); needs no torch."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np


def _cosines(signature: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(signature), "<f2").astype(float)


def distance(first: str, second: str) -> float:
    """How much the cosines of two signatures differ: the root mean square of the differences, in units of their spread."""
    a, b = _cosines(first), _cosines(second)
    if a.shape != b.shape:
        return float("inf")
    spread = max(float(min(a.std(), b.std())), 1e-3)
    return float(np.sqrt(np.mean((a - b) ** 2))) / spread


def distances(one: str, others: Sequence[str]) -> list[float]:
    """The distance of one signature from each of many."""
    return [distance(one, other) for other in others]
