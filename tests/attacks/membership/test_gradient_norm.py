from __future__ import annotations

import numpy as np

from attacks.membership.gradient_norm import GradientNorm
from benchmark.interfaces import Access, Signals
from benchmark.metrics.roc import auc

# The weights' gradient of an objective that was not trained on: 0.70 on the overfitted world; 0.91 with respect to both.
PLANTED_AUC = {"gradient_norm(of=weights)": 0.6}


def test_small_gradients_pass_for_members():
    rng = np.random.default_rng(0)
    labels = np.tile([1, 0], 200)
    attack = GradientNorm()

    def signals() -> Signals:
        norms = np.exp(rng.standard_normal((400, 1)) - labels[:, None])
        return Signals({r.key: norms for r in attack.requests()}, np.arange(400))

    attack.fit(signals(), labels)
    assert auc(attack.score(signals()), labels) > 0.7


def test_gradients_take_the_weights():
    assert GradientNorm().required_access() == Access.WEIGHTS
    assert {r.of for r in GradientNorm().requests()} == {"input", "weights"}
    assert {r.of for r in GradientNorm(of="input").requests()} == {"input"}
    assert len(GradientNorm(views=("blur", "flip")).requests()) == 4
