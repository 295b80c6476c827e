from __future__ import annotations

import numpy as np
import pytest

from attacks.membership.lira import Lira
from attacks.membership.pair_stack import PairStack
from attacks.shared.photo_pairs import PairStatistics, _quantiles
from benchmark.evaluation.membership.evidence import asked_about
from benchmark.interfaces import Contrast, NotApplicableError, QueryShadow, Signals
from benchmark.metrics.roc import auc

PEOPLE, PHOTOS, SIZE = 100, 6, 24
PHOTO, FLIP = (request.key for request in PairStack(views="flip").requests())


def imagined(seed: int, leak: float = 1.0, people: bool = False):
    """Half of the people were trained on, with half of their photos (or all): those lie nearer to one another."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    person = np.repeat(np.arange(PEOPLE), PHOTOS)
    centre, own = fixed.normal(size=(PEOPLE, SIZE))[person], fixed.normal(size=(len(person), SIZE))
    trained = rng.permutation(np.arange(PEOPLE) % 2 == 0)[person]
    half = np.concatenate([rng.permutation(np.arange(PHOTOS) % 2 == 0) for _ in range(PEOPLE)])
    inside = trained if people else trained & half
    photo = centre + (1 - 0.5 * leak * inside)[:, None] * own + 0.5 * rng.normal(size=own.shape)
    values = {PHOTO: photo, FLIP: photo + 0.1 * rng.normal(size=own.shape)}
    return Signals(values, person), inside, trained


def shadow(seed: int, rows: np.ndarray, leak: float = 1.0, people: bool = False, strangers: bool = True) -> QueryShadow:
    """Asked about everybody, or about the people that it trained on; ``rows`` are the target's photos."""
    signals, inside, trained = imagined(seed, leak, people)
    own = np.arange(len(inside)) if strangers or people else np.flatnonzero(trained)
    place = np.full(len(inside), -1)
    place[own] = np.arange(len(own))
    return QueryShadow(signals.take(own), inside[own], place[rows])


def scored(attack, leak: float = 1.0, people: bool = False, strangers: bool = True, order: np.ndarray | None = None):
    """AUC and scores on the target's own people, from five shadows."""
    signals, inside, trained = imagined(0, leak, people)
    rows = np.arange(len(inside)) if people else np.flatnonzero(trained)
    rows = rows if order is None else rows[order]
    attack.calibrate([shadow(10 + k, rows, leak, people, strangers) for k in range(5)])
    score = attack.score(signals.take(rows))
    return auc(score, inside[rows]), score


def test_pairs_tell_more_than_one_centre():
    found, _ = scored(PairStack())
    one_centre, _ = scored(Lira(), strangers=False)
    print(f"pairs {found:.3f}, one centre {one_centre:.3f}")
    assert found > one_centre + 0.02
    assert found > 0.7


@pytest.mark.parametrize("people", [False, True])
def test_without_a_leak_it_is_at_chance(people):
    found, score = scored(PairStack(), leak=0.0, people=people)
    assert np.isfinite(score).all()
    assert abs(found - 0.5) < 0.1  # 300 photos: three deviations


def test_whole_people_are_told_apart():
    assert scored(PairStack(), people=True)[0] > 0.7


def test_mirror_images_are_averaged():
    assert {r.view for r in PairStack(views="flip").requests()} == {"identity", "flip"}
    assert scored(PairStack(views="flip"))[0] > 0.7


def test_the_order_of_photos_changes_nothing():
    order = np.random.default_rng(5).permutation(PEOPLE * PHOTOS // 2)
    _, plain = scored(PairStack())
    _, shuffled = scored(PairStack(), order=order)
    np.testing.assert_allclose(shuffled, plain[order], atol=1e-9)


def test_one_shadow_is_not_enough():
    attack = PairStack()
    attack.calibrate([shadow(1, np.arange(PEOPLE * PHOTOS))])
    with pytest.raises(NotApplicableError, match="another one"):
        attack.score(imagined(0)[0])


def test_an_excess_is_over_what_shadows_say_that_trained_on_neither():
    """Photos 0 and 1 look alike to everybody, 2 and 3 only to the backbone that is asked."""
    rng = np.random.default_rng(3)
    person = np.repeat(np.arange(40), 4)
    base = rng.normal(size=(160, 16))
    base[1] = base[0] + 0.1 * base[1]
    models = np.stack([base + 0.3 * rng.normal(size=base.shape) for _ in range(6)])
    models[0, 3] = models[0, 2] + 0.1 * models[0, 3]
    models /= np.linalg.norm(models, axis=2, keepdims=True)
    found = PairStatistics(models, np.zeros((6, 160), bool), person, np.ones((6, 160), bool)).columns(0, range(1, 6))
    highest_excess, highest_similarity = found[:4, 4], found[:4, 9]
    assert (highest_similarity > 1).all()
    assert highest_excess[2:].min() > 1.3 * highest_excess[:2].max()


def test_quantiles_leave_out_what_is_unknown():
    values = np.array([[[np.nan, 1.0, 3.0, np.nan], [np.nan] * 4, [2.0, 2.0, np.nan, 2.0], [0.0, 1.0, 2.0, np.nan]]])
    found = _quantiles(values)[:, 0]
    np.testing.assert_allclose(found[:, 0], [1, 1.5, 2, 2.5, 3])
    assert np.isnan(found[:, 1]).all()
    np.testing.assert_allclose(found[:, 3], [0, 0.5, 1, 1.5, 2])


def test_strangers_are_asked_on_the_sample_contrast_alone(tiny):
    own = asked_about(tiny.populations, Contrast.SAMPLE)
    everybody = asked_about(tiny.populations, Contrast.SAMPLE, strangers=True)
    assert set(own) < set(everybody)
    assert not tiny.populations.labelled[everybody].any()
    of_people = asked_about(tiny.populations, Contrast.IDENTITY)
    np.testing.assert_array_equal(asked_about(tiny.populations, Contrast.IDENTITY, strangers=True), of_people)
