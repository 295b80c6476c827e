from __future__ import annotations

import numpy as np
import pytest

from attacks.membership.view_stack import VIEWS, ViewStack, statistics
from attacks.shared.view_statistics import request
from benchmark.interfaces import NotApplicableError, QueryShadow, Signals
from benchmark.metrics.roc import auc


def imagined(seed: int, leak: float = 1.0):
    """Training brings half of each person's photos nearer to the centre, and their mirror images nearer to them."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    person = np.repeat(np.arange(120), 4)
    centre, own = fixed.normal(size=(120, 24))[person], fixed.normal(size=(480, 24))
    inside = np.concatenate([rng.permutation([True, True, False, False]) for _ in range(120)])
    photo = centre + (1 - 0.25 * leak * inside)[:, None] * own + 0.8 * rng.normal(size=own.shape)
    values = {request(v).key: photo + 0.6 * rng.normal(size=own.shape) for v in VIEWS}
    values[request("identity").key] = photo
    values[request("flip").key] = photo + (0.6 - 0.3 * leak * inside)[:, None] * rng.normal(size=own.shape)
    return Signals(values, person), inside


def scored(learner: str, leak: float = 1.0) -> float:
    target, inside = imagined(0, leak)
    attack = ViewStack(learner=learner)
    attack.calibrate([QueryShadow(*imagined(10 + k, leak), np.arange(480)) for k in range(5)])
    return auc(attack.score(target), inside)


@pytest.mark.parametrize("learner", ["boosting", "logistic"])
def test_it_finds_what_is_spread_over_several_signals(learner):
    target, inside = imagined(0)
    alone = max(auc(column, inside) for column in statistics(target).T)
    found = scored(learner)
    print(f"{learner} {found:.3f}, the best column alone {alone:.3f}")
    assert found > alone + 0.02


@pytest.mark.parametrize("learner", ["boosting", "logistic"])
def test_without_a_leak_it_is_at_chance(learner):
    assert abs(scored(learner, leak=0.0) - 0.5) < 0.09  # 480 photos: three deviations


def test_one_shadow_is_not_enough():
    attack = ViewStack()
    attack.calibrate([QueryShadow(*imagined(1), np.arange(480))])
    with pytest.raises(NotApplicableError, match="another one"):
        attack.score(imagined(0)[0])


@pytest.mark.parametrize("learner", ["boosting", "logistic"])
def test_the_order_of_photos_changes_nothing(learner):
    target, _ = imagined(0)
    order = np.random.default_rng(5).permutation(480)
    scores = []
    for rows in (np.arange(480), order):
        attack = ViewStack(learner=learner)
        attack.calibrate([QueryShadow(*imagined(10 + k), rows) for k in range(3)])
        scores.append(attack.score(target.take(rows)))
    np.testing.assert_allclose(scores[1], scores[0][order], rtol=1e-6, atol=1e-9)
