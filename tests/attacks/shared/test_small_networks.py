from __future__ import annotations

import warnings

import numpy as np

from attacks.shared.small_networks import fit_quietly, log_odds, network


def test_learns_what_is_not_linear_and_repeats():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((600, 2))
    labels = (features[:, 0] * features[:, 1] > 0).astype(int)
    scores = []
    for _ in range(2):
        model = network((32,), decay=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fit_quietly(model, features, labels)
        scores.append(log_odds(model, features))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert ((scores[0] > 0) == labels).mean() > 0.9
