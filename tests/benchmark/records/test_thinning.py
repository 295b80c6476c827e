"""Records made smaller: what is drawn stays on the curve, what is measured stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
from record_factory import make_record

from benchmark.interfaces import Contrast
from benchmark.metrics.roc import log_spaced_roc
from benchmark.records.thinning import POINTS, thin, thinned
from benchmark.service.store import record_id


def curve(seed: int, shift: float, n: int = 3000):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(shift, 1, n), rng.normal(0, 1, n)])
    return log_spaced_roc(scores, np.repeat([1, 0], n))


@pytest.fixture
def record():
    made = make_record(leakage=0.6, photos=1200)
    attacks = []
    for number, attack in enumerate(made.membership):
        contrasts = {c: r.model_copy(update={"roc": curve(number, 1.0)}) for c, r in attack.contrasts.items()}
        attacks.append(attack.model_copy(update={"contrasts": contrasts}))
    return made.model_copy(update={"membership": tuple(attacks)})


def test_a_thinned_curve_is_the_curve_with_fewer_points():
    whole = curve(0, 1.5)
    few = thin(whole)
    assert len(few) <= POINTS < len(whole)
    assert (few[0], few[-1]) == (pytest.approx(whole[0], rel=1e-4), (1.0, 1.0))
    known = np.array(whole)
    for point in few:
        assert np.abs(known - point).max(axis=1).min() < 1e-5
    x = np.geomspace(1e-3, 1, 200)  # read between the points it is off by less than is seen
    old, new = (np.interp(x, *np.array(points).T) for points in (whole, few))
    assert np.abs(old - new).max() < 0.02


def test_short_and_empty_curves_stay():
    assert thin(()) == ()
    assert thin(((0.0, 0.25), (1.0, 1.0))) == ((0.0, 0.25), (1.0, 1.0))
    assert thin((*((0.0, i / 99) for i in range(99)), (1.0, 1.0)))[-1] == (1.0, 1.0)


def test_numbers_names_and_fingerprint_stay_and_the_strongest_keep_their_curves(record):
    less = thinned(record)
    assert (record_id(less), less.fingerprint, less.headline) == (record_id(record), record.fingerprint, record.headline)
    for new, old in zip(less.membership, record.membership, strict=True):
        for contrast, result in new.contrasts.items():
            before = old.contrasts[contrast]
            assert (result.metrics, result.scores_sha256) == (before.metrics, before.scores_sha256)
            strongest = new.label == record.headline.leakage_attack
            assert len(result.roc) == (len(before.roc) if strongest else len(thin(before.roc)))
    assert len(less.model_dump_json()) < 0.6 * len(record.model_dump_json())


def test_other_scores_are_another_fingerprint(record):
    (first, *rest) = record.membership
    result = first.contrasts[Contrast.SAMPLE].model_copy(update={"scores_sha256": "0" * 64})
    changed = first.model_copy(update={"contrasts": {**first.contrasts, Contrast.SAMPLE: result}})
    assert record.model_copy(update={"membership": (changed, *rest)}).fingerprint != record.fingerprint
