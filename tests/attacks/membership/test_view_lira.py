from __future__ import annotations

import numpy as np

from attacks.membership.lira import Lira
from attacks.membership.view_lira import ViewLira
from attacks.shared.view_statistics import request, view_logits
from benchmark.interfaces import QueryShadow, Signals
from benchmark.metrics.roc import auc


def imagined(seed: int, leak: float = 1.0):
    """Half of each person's photos lie nearer to the centre as photo and as mirror image, each with noise of its own."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    person = np.repeat(np.arange(150), 4)
    centre, own = fixed.normal(size=(150, 24))[person], fixed.normal(size=(600, 24))
    inside = np.concatenate([rng.permutation([True, True, False, False]) for _ in range(150)])
    values = {}
    for view in ("identity", "flip", "shift"):
        told = leak * inside if view != "shift" else 0 * inside
        values[request(view).key] = centre + (1 - 0.3 * told)[:, None] * own + rng.normal(size=own.shape)
    return Signals(values, person), inside


def scored(attack, leak: float = 1.0):
    target, inside = imagined(0, leak)
    attack.calibrate([QueryShadow(*imagined(10 + k, leak), np.arange(600)) for k in range(6)])
    return auc(attack.score(target), inside)


def test_two_views_that_training_showed_tell_more_than_one():
    both, one = scored(ViewLira()), scored(Lira(statistic="weighted_logit"))
    print(f"photo and mirror image {both:.3f}, photo alone {one:.3f}")
    assert both > one + 0.02


def test_a_view_that_training_did_not_show_dilutes():
    assert scored(ViewLira(views="flip_shift")) < scored(ViewLira())


def test_without_a_leak_it_is_at_chance():
    for rule in ("lira", "bavaria"):
        assert abs(scored(ViewLira(rule=rule), leak=0.0) - 0.5) < 0.08


def test_it_reads_the_views_it_names():
    assert [r.view for r in ViewLira(views="flip_shift").requests()] == ["identity", "flip", "shift"]
    assert view_logits(imagined(0)[0], ("identity", "flip")).shape == (600, 2)
