from __future__ import annotations

import numpy as np

from attacks.membership.part_crop import PartCrop
from benchmark.interfaces import Signals
from benchmark.metrics.roc import auc

# On backbones that were not trained on parts we have found it at chance: asked to be no worse than that.
PLANTED_AUC = 0.4


def test_divergences_of_parts_are_learned():
    rng = np.random.default_rng(0)
    labels = np.tile([1, 0], 200)
    key = PartCrop(parts=8).requests()[0].key

    def signals() -> Signals:
        return Signals(
            {key: np.sort(rng.exponential(np.where(labels == 1, 1.5, 1.0)[:, None], (400, 16)), axis=1)}, np.arange(400)
        )

    attack = PartCrop(parts=8)
    attack.fit(signals(), labels)
    assert auc(attack.score(signals()), labels) > 0.75


def test_asks_for_as_many_parts_as_set():
    assert PartCrop(parts=12).requests()[0].parts == 12
