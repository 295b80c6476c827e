"""Precision, recall, density and coverage of generated samples on features: pure functions.

Kynkäänniemi et al. 2019 (improved precision and recall) and Naeem et al. 2020 (density and coverage).  A sample's ball
reaches to its k-th nearest neighbour of its own set, itself not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from benchmark.interfaces import FaceVeilError

NEIGHBOURS = 5


@dataclass(frozen=True)
class Manifold:
    """What each sample adds, so that means over some of the samples are the metrics of those.

    ``precision`` (F,): the generated sample lies in the ball of a real one.  ``density`` (F,): in how many of them, over k.
    ``recall`` (R,): the real sample lies in the ball of a generated one.  ``coverage`` (R,): its own ball holds one.
    """

    precision: np.ndarray
    density: np.ndarray
    recall: np.ndarray
    coverage: np.ndarray


def compare(real: np.ndarray, generated: np.ndarray, k: int = NEIGHBOURS) -> Manifold:
    """Generated features (F, D) against real ones (R, D).

    Raises:
        FaceVeilError: fewer than k + 1 samples in one of the sets: no k-th neighbour.
    """
    if min(len(real), len(generated)) <= k:
        raise FaceVeilError(f"{len(real)} real and {len(generated)} generated samples have no {k} neighbours each; give more.")
    real_radius, generated_radius = _radius(real, k), _radius(generated, k)
    distance = cdist(real, generated)
    inside_real = distance < real_radius[:, None]
    return Manifold(
        precision=inside_real.any(0).astype(np.float64),
        density=inside_real.sum(0) / k,
        recall=(distance < generated_radius).any(1).astype(np.float64),
        coverage=(distance.min(1) < real_radius).astype(np.float64),
    )


def _radius(features: np.ndarray, k: int) -> np.ndarray:
    """Distance (N,) of each sample to its k-th nearest other."""
    return np.partition(cdist(features, features), k, axis=1)[:, k]
