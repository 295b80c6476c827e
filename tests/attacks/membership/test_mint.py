from __future__ import annotations

import numpy as np

from attacks.membership.mint import MINT
from benchmark.interfaces import Signals
from benchmark.metrics.roc import auc
from benchmark.signals.layers import ChannelMeans


def signals(labels: np.ndarray, seed: int) -> Signals:
    """Activations that lie nearer to their mean on members, in some channels."""
    rng = np.random.default_rng(seed)
    spread = np.where((labels == 1)[:, None] & (np.arange(12) < 6), 0.5, 1.0)
    return Signals({MINT().requests()[0].key: 5 + spread * rng.standard_normal((len(labels), 12))}, np.arange(len(labels)))


def test_nearness_to_the_mean_is_found_although_no_mean_differs():
    labels = np.tile([1, 0], 400)
    attack = MINT(decay=1.0)
    attack.fit(signals(labels, 0), labels)
    assert auc(attack.score(signals(labels, 1)), labels) > 0.8


def test_works_without_batchnorm():
    assert isinstance(MINT().requests()[0], ChannelMeans)
    assert MINT(statistic="mean_std").requests()[0].statistic == "mean_std"
