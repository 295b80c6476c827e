"""Against the authors' own package, on features with ties and without."""

from __future__ import annotations

import numpy as np
import pytest
from prdc import compute_prdc

from benchmark.interfaces import FaceVeilError
from benchmark.metrics.manifold import compare


@pytest.mark.parametrize("shift", [0.0, 0.7, 30.0])
@pytest.mark.parametrize("k", [1, 5])
def test_equals_the_reference(shift, k, capsys):
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(60, 8)), rng.normal(size=(45, 8)) + shift
    generated[:5] = real[:5]  # exact copies
    expected = compute_prdc(real, generated, nearest_k=k)
    found = compare(real, generated, k)
    for name, value in expected.items():
        assert getattr(found, name).mean() == pytest.approx(value, abs=1e-9), name


def test_copies_cover_everything_and_strangers_nothing():
    real = np.random.default_rng(1).normal(size=(30, 4))
    same, far = compare(real, real.copy()), compare(real, real + 100)
    assert same.coverage.all()
    assert same.precision.all()
    assert not far.coverage.any()
    assert not far.recall.any()
    assert far.density.sum() == 0


def test_a_single_mode_has_precision_without_recall():
    rng = np.random.default_rng(2)
    real = np.concatenate([rng.normal(size=(50, 4)), rng.normal(size=(50, 4)) + 20])
    found = compare(real, rng.normal(size=(50, 4)))
    assert found.precision.mean() > 0.8
    assert 0.2 < found.recall.mean() < 0.6


def test_too_few_samples_are_refused():
    with pytest.raises(FaceVeilError, match="5 neighbours"):
        compare(np.zeros((5, 2)), np.zeros((50, 2)))
