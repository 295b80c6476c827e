"""Against pytorch-fid, and against the closed form of shifted Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
from pytorch_fid.fid_score import calculate_frechet_distance

from benchmark.interfaces import FaceVeilError
from benchmark.metrics.frechet import frechet_distance


def reference(first: np.ndarray, second: np.ndarray) -> float:
    moments = [(f.mean(0), np.cov(f, rowvar=False)) for f in (first, second)]
    return float(calculate_frechet_distance(*moments[0], *moments[1]))


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_equals_pytorch_fid(shift):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(300, 12)) @ rng.normal(size=(12, 12)), rng.normal(size=(200, 12)) + shift
    assert frechet_distance(first, second) == pytest.approx(reference(first, second), rel=1e-6)


def test_fewer_samples_than_dimensions():
    """Singular covariances: the distance stays finite, is 0 of a set from itself, and symmetric."""
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(10, 32)), rng.normal(size=(12, 32))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first), rel=1e-6)


def test_a_shift_adds_its_square():
    features = np.random.default_rng(2).normal(size=(50, 6))
    assert frechet_distance(features, features + 2) == pytest.approx(6 * 4)


@pytest.mark.parametrize("second", [np.zeros((1, 3)), np.zeros((5, 4)), np.zeros(3)])
def test_what_does_not_fit_is_refused(second):
    with pytest.raises(FaceVeilError, match="features must be"):
        frechet_distance(np.zeros((5, 3)), second)
