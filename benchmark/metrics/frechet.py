"""Fréchet distance between two sets of features (Heusel et al. 2017): pure functions.

With Inception features it is the published FID; here it is taken on features of our own judges, and comparable only among
numbers from the same judge and of the same number of samples.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from benchmark.interfaces import FaceVeilError


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """||m1 - m2||^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of features (N, D) and (M, D).

    The root's trace is taken from the symmetric C1^(1/2) C2 C1^(1/2), which is exact for singular covariances, too.

    Raises:
        FaceVeilError: fewer than two samples, or features of different length.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise FaceVeilError(f"features must be (N, D) and (M, D) with N and M of 2 or more, not {first.shape}, {second.shape}.")
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    gap = first.mean(0) - second.mean(0)
    left, right = np.cov(first, rowvar=False, ddof=1), np.cov(second, rowvar=False, ddof=1)
    left, right = np.atleast_2d(left), np.atleast_2d(right)
    root = _root(left)
    shared = np.sqrt(np.clip(eigh(root @ right @ root, eigvals_only=True), 0, None)).sum()
    return float(max(gap @ gap + np.trace(left) + np.trace(right) - 2 * shared, 0.0))


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = eigh(matrix)
    result: np.ndarray = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return result
