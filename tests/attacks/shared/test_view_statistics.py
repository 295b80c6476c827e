from __future__ import annotations

import numpy as np
import pytest

from attacks.shared.centres import regrow, unit
from attacks.shared.view_statistics import averaged_logits, request, view_logits
from benchmark.interfaces import NotApplicableError, Signals

VIEWS = ("identity", "flip", "shift", "augment-0", "augment-1")


def imagined(seed: int, people: int = 60, photos: int = 4, pull: float = 1.0, size: int = 24):
    """Signals of a backbone that trained on half of each person's photos with flips: those lie nearer to their centre.

    How far a photo lies from its person is its own, the same under every backbone.
    """
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    n = people * photos
    person = np.repeat(np.arange(people), photos)
    centre, own = fixed.normal(size=(people, size))[person], fixed.normal(size=(n, size))
    hardness = fixed.uniform(0.6, 1.4, n)
    inside = np.zeros(n, bool)
    for p in range(people):
        inside[p * photos + rng.permutation(photos)[: photos // 2]] = True
    values = {}
    for view in VIEWS:
        told = pull * inside if view in ("identity", "flip") else 0 * inside
        spread = (hardness * (1 - 0.35 * told))[:, None]
        values[request(view).key] = centre + spread * own + 0.35 * rng.normal(size=own.shape)
    return Signals(values, person), inside


def test_the_photo_s_own_view_is_the_weighted_regrown_logit_without_itself():
    signals, _ = imagined(0)
    found = view_logits(signals, VIEWS)
    assert found.shape == (240, 5)
    signals.values[request("flip").key][:] = signals[request("identity")]
    np.testing.assert_allclose(view_logits(signals, VIEWS)[:, 1], found[:, 0])
    plain = averaged_logits(signals, VIEWS[:1], weighted=False)
    person = signals.identity
    np.testing.assert_allclose(plain, regrow(unit(signals[request("identity")]), person, 32.0).log_odds)
    assert np.corrcoef(found[:, 0], plain)[0, 1] > 0.8


def test_one_photo_a_person_is_not_enough():
    signals, _ = imagined(0)
    with pytest.raises(NotApplicableError, match="one photo only"):
        view_logits(signals.take(np.arange(0, 240, 4)), VIEWS)
