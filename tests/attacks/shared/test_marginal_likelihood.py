from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import ive

from attacks.membership.regrown_head import RegrownHead
from attacks.shared import marginal_likelihood
from attacks.shared.centres import regrow_weighted, unit
from attacks.shared.marginal_likelihood import (
    LogNormaliser,
    MarginalInference,
    effective_dimension,
    log_marginal,
    log_normaliser,
    subset_products,
)
from benchmark.interfaces import AttackSpec, SettingsError
from benchmark.metrics.roc import auc
from benchmark.protocol.registry import build_attack


def people(count, photos, dimension, inner, outer, seed=0):
    """Embeddings of people half of whose photos lie closer to their centre, whose they are, and which do."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(count), photos)
    inside = np.tile(np.arange(photos) < photos // 2, count)
    spread = np.where(inside, inner, outer)[:, None] / np.sqrt(dimension)
    centres = unit(rng.normal(size=(count, dimension)))
    return unit(centres[person] + spread * rng.normal(size=(len(person), dimension))), person, inside


def inference(embeddings, person, learn_sizes=True):
    start = regrow_weighted(embeddings, person, 32.0)
    return MarginalInference(embeddings, person, start.others, start.log_odds, 32.0, learn_sizes)


def test_the_likelihood_is_the_integral_over_the_centre():
    """On the sphere in three dimensions, by many centres drawn at random; constants of the dimension cancel in differences."""
    rng = np.random.default_rng(0)
    embeddings = unit(rng.normal(size=(1, 3, 3)) + 2)
    inside = np.array(list(itertools.product((False, True), repeat=3)))[None]
    k_in, k_out = 6.0, 2.0
    products = subset_products(embeddings, inside)
    found = log_marginal(products, inside.sum(2), 3, (k_in, k_out), LogNormaliser(3.0))[0]
    centres = unit(rng.normal(size=(200_000, 3)))

    def constant(k):
        return np.log(k / (4 * np.pi * np.sinh(k)))

    expected = []
    for subset in inside[0]:
        k = np.where(subset, k_in, k_out)
        expected.append(constant(k).sum() + np.log(np.exp(centres @ (k[:, None] * embeddings[0]).sum(0)).mean()))
    np.testing.assert_allclose(found - found[0], np.array(expected) - expected[0], atol=0.02)
    assert ive(0.5, k_in) > 0


def test_products_are_those_of_the_sums_inside_and_outside():
    rng = np.random.default_rng(1)
    embeddings = rng.normal(size=(2, 4, 5))
    inside = np.array([[[True, False, True, False], [False] * 4]])
    found = subset_products(embeddings, inside)
    first, second = embeddings[1, [0, 2]].sum(0), embeddings[1, [1, 3]].sum(0)
    np.testing.assert_allclose(found[1, 0], [first @ first, first @ second, second @ second])
    np.testing.assert_allclose(found[0, 1], [0, 0, np.square(embeddings[0].sum(0)).sum()])


@pytest.mark.parametrize("dimension", [4, 30])
def test_the_effective_dimension_of_round_clouds_is_theirs(dimension):
    embeddings, person, _ = people(400, 8, dimension, 0.2, 0.2)
    flat = np.hstack([embeddings, np.zeros((len(embeddings), 50))])
    assert effective_dimension(flat, person) == pytest.approx(dimension, rel=0.3)


def test_forty_people_are_enough():
    embeddings, person, inside = people(40, 8, 24, 0.55, 0.9)
    assert auc(inference(embeddings, person).log_odds(), inside) > 0.8


def test_it_learns_the_concentrations_and_how_many_are_inside():
    embeddings, person, _ = people(60, 6, 24, 0.3, 1.0)
    learned = inference(embeddings, person)
    learned.log_odds()
    inner, outer = learned._concentrations
    assert inner > 3 * outer
    (prior,) = learned._prior._log.values()
    assert int(prior.argmax()) == 3
    assert inference(embeddings, person, learn_sizes=False)._prior._log == {}


def test_nothing_is_found_where_nothing_differs():
    embeddings, person, inside = people(150, 4, 24, 0.7, 0.7)
    assert auc(inference(embeddings, person).log_odds(), inside) == pytest.approx(0.5, abs=0.07)


def test_people_may_have_different_numbers_of_photos():
    embeddings, person, inside = people(60, 10, 24, 0.3, 1.0)
    kept = (person % 2 == 0) | (np.tile(np.arange(10), 60) % 5 < 2)  # 10 photos, or 4
    assert auc(inference(embeddings[kept], person[kept]).log_odds(), inside[kept]) > 0.9


def test_labels_and_shadows_are_refused():
    with pytest.raises(SettingsError, match="leave knowledge at none"):
        build_attack(AttackSpec(name="regrown_head", settings={"gallery": "marginal", "knowledge": "partial"}))
    assert RegrownHead(gallery="marginal").requests() == RegrownHead().requests()


@pytest.mark.parametrize("dimension", [2.0, 5.5, 40.0, 128.0])
def test_the_spline_gives_the_bessel_functions(dimension):
    # from where the function of a high order is above the smallest number upwards
    lengths = np.geomspace(1e-2, 1e6, 3001)
    np.testing.assert_allclose(LogNormaliser(dimension)(lengths**2), log_normaliser(lengths, dimension), rtol=1e-12, atol=1e-8)


@pytest.mark.parametrize("learn_sizes", [True, False])
def test_the_scores_are_those_of_the_bessel_functions(learn_sizes, monkeypatch):
    embeddings, person, _ = people(40, 6, 24, 0.4, 0.9)
    fast = inference(embeddings, person, learn_sizes).log_odds()
    monkeypatch.setattr(
        marginal_likelihood, "LogNormaliser", lambda dimension: lambda squares: log_normaliser(np.sqrt(squares), dimension)
    )
    exact = inference(embeddings, person, learn_sizes).log_odds()
    np.testing.assert_allclose(fast, exact, rtol=0, atol=1e-6)
