from __future__ import annotations

import itertools
import sys

import naive_joint_inference as naive
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm as gaussian

from attacks.shared import subsets
from attacks.shared.centres import regrow_weighted, unit
from attacks.shared.densities import fitted_densities, gaussian_densities
from attacks.shared.joint_inference import JointInference, known_logits
from attacks.shared.subsets import hypotheses, subset_logits
from benchmark.metrics.roc import auc

SCALE = 32.0


def gallery(people: int, photos: int, inside: int, *, near: float = 0.35, far: float = 0.75, seed: int = 0):
    """Embeddings whose trained photos lie near their person's centre and the others further off; (N, D), people, labels."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), photos)
    label = np.tile(np.arange(photos) < inside, people)
    centres = unit(rng.standard_normal((people, 64)))
    spread = np.where(label, near, far)[:, None]
    embeddings = unit(centres[person] + spread * unit(rng.standard_normal((people * photos, 64))))
    order = rng.permutation(len(person))
    return embeddings[order], person[order], label[order]


def inference_of(embeddings, person) -> JointInference:
    first = regrow_weighted(embeddings, person, SCALE)
    return JointInference(embeddings, person, first.others, first.log_odds, SCALE)


def test_every_subset_is_a_hypothesis():
    inside = hypotheses(np.zeros((3, 4), int) + np.arange(4))
    assert inside.shape == (1, 16, 4)
    assert len(np.unique(inside[0], axis=0)) == 16


def test_many_photos_have_the_likely_hypotheses_only():
    order = np.stack([np.random.default_rng(p).permutation(12) for p in range(3)])
    inside = hypotheses(order)
    assert inside.shape[0] == 3
    assert inside.shape[1] <= 12 * 13
    for person in range(3):
        found = {row.tobytes() for row in inside[person]}
        for k in range(1, 13):
            best = np.zeros(12, bool)
            best[order[person, :k]] = True
            assert best.tobytes() in found
            best[order[person, 0]] = False
            assert best.tobytes() in found


def naive_logits(embeddings, inside, others):
    rows = []
    for x in range(len(embeddings)):
        voters = [i for i in range(len(embeddings)) if i != x and (inside[i] or not any(inside))]
        centre = sum((embeddings[i] for i in voters), np.zeros(embeddings.shape[1]))
        length = np.linalg.norm(centre)
        rows.append(SCALE * (float(embeddings[x] @ centre / length) if length else 0.0) - others[x])
    return rows


def test_logits_are_cosines_to_the_mean_of_the_others_inside():
    rng = np.random.default_rng(3)
    embeddings, others = unit(rng.standard_normal((2, 4, 6))), rng.standard_normal((2, 4))
    inside = hypotheses(np.zeros((2, 4), int))
    found = subset_logits(embeddings, inside, others, SCALE)
    for p, s in itertools.product(range(2), range(16)):
        np.testing.assert_allclose(found[p, s], naive_logits(embeddings[p], inside[0, s], others[p]), rtol=1e-6, atol=1e-6)


def test_log_odds_sum_over_all_hypotheses():
    """With given densities and no preference among sizes the posterior is that of an exhaustive sum, person by person."""
    embeddings, person, _ = gallery(6, 4, 2, seed=5)
    inference = inference_of(embeddings, person)
    ones = np.ones(len(person))
    densities = gaussian_densities((14 * ones, 6 * ones), (2 * ones, 4 * ones))
    found = inference.log_odds(densities)
    others = regrow_weighted(embeddings, person, SCALE).others
    for p in range(6):
        own = np.flatnonzero(person == p)
        table = []
        for subset in itertools.product((False, True), repeat=4):
            logits = np.array(naive_logits(embeddings[own], subset, others[own]))
            terms = np.where(subset, gaussian.logpdf(logits, 14, 2), gaussian.logpdf(logits, 6, 4))
            # an unlearned prior gives every size the same weight, shared by its hypotheses
            size = sum(subset)
            table.append((subset, terms.sum() - np.log([1, 4, 6, 4, 1][size])))
        for column, row in enumerate(own):
            sides = [logsumexp([v for s, v in table if s[column] == side]) for side in (True, False)]
            assert found[row] == pytest.approx(sides[0] - sides[1], abs=1e-6)


@pytest.mark.parametrize(("photos", "inside"), [(4, 2), (8, 4), (6, 2), (12, 6)])
def test_finds_which_photos_were_trained_on_without_being_told_how_many(photos, inside):
    embeddings, person, label = gallery(150, photos, inside)
    inference = inference_of(embeddings, person)
    found = inference.log_odds(inference.learn())
    assert auc(found, label) > 0.97


@pytest.mark.parametrize(("photos", "inside", "near"), [(8, 6, 0.35), (8, 4, 0.5)])
def test_few_people_and_weak_leaks_do_not_make_one_cloud_of_all_photos(photos, inside, near):
    embeddings, person, label = gallery(150, photos, inside, near=near)
    inference = inference_of(embeddings, person)
    assert auc(inference.log_odds(inference.learn()), label) > 0.9


def test_learns_how_many_photos_a_person_has_inside():
    embeddings, person, label = gallery(200, 6, 2, near=0.2, far=1.0)
    inference = inference_of(embeddings, person)
    others = regrow_weighted(embeddings, person, SCALE).others
    inference.learn(fitted_densities(known_logits(embeddings, person, others, label, SCALE), label))
    shares = np.exp(inference._prior._log[6])
    assert shares.argmax() == 2
    assert shares[2] > 0.8


def test_without_learning_the_counts_every_subset_is_equally_probable():
    embeddings, person, label = gallery(150, 6, 3, near=0.2, far=1.0)
    first = regrow_weighted(embeddings, person, SCALE)
    inference = JointInference(embeddings, person, first.others, first.log_odds, SCALE, learn_sizes=False)
    found = inference.log_odds(inference.learn())
    assert all((inference._prior(group) == 0).all() for group in inference._groups)
    assert auc(found, label) > 0.95


def test_mixed_people_with_different_numbers_of_photos():
    parts = [gallery(80, n, n // 2, seed=n) for n in (4, 6)]
    person = np.concatenate([parts[0][1], parts[1][1] + 80])
    embeddings, label = (np.concatenate([p[i] for p in parts]) for i in (0, 2))
    inference = inference_of(embeddings, person)
    assert auc(inference.log_odds(inference.learn()), label) > 0.95


def test_where_no_photo_stands_apart_nothing_is_found():
    embeddings, person, label = gallery(300, 6, 3, near=0.6, far=0.6)
    inference = inference_of(embeddings, person)
    found = inference.log_odds(inference.learn())
    assert np.isfinite(found).all()
    assert abs(auc(found, label) - 0.5) < 0.04


def test_known_photos_give_the_densities():
    embeddings, person, label = gallery(200, 6, 3, far=0.6)
    others = regrow_weighted(embeddings, person, SCALE).others
    known = person < 100
    logits = known_logits(embeddings, person, others, label, SCALE)
    densities = fitted_densities(logits[known], label[known])
    asked = ~known
    inference = inference_of(embeddings[asked], person[asked] - 100)
    told = auc(inference.log_odds(inference.learn(densities)), label[asked])
    alone = inference_of(embeddings[asked], person[asked] - 100)
    assert told > 0.8
    assert told > auc(alone.log_odds(alone.learn()), label[asked]) - 0.01


def test_a_person_without_another_photo_inside_has_no_known_logit():
    embeddings, person, _ = gallery(3, 3, 1)
    inside = np.zeros(9, bool)
    inside[np.flatnonzero(person == 0)[0]] = True
    logits = known_logits(embeddings, person, np.zeros(9), inside, SCALE)
    alone = np.flatnonzero(person == 0)[0]
    assert np.isnan(logits[alone])
    assert np.isfinite(logits[np.flatnonzero(person == 0)[1:]]).all()
    assert np.isnan(logits[person > 0]).all()


@pytest.mark.parametrize(("people", "photos"), [(60, 4), (40, 8), (30, 12)])
@pytest.mark.parametrize("learn_sizes", [True, False])
@pytest.mark.parametrize("told", ["nothing", "densities", "gaussians"])
def test_the_scores_are_those_of_the_naive_inference(people, photos, learn_sizes, told):
    embeddings, person, label = gallery(people, photos, photos // 2, near=0.5, far=0.8, seed=photos)
    first = regrow_weighted(embeddings, person, SCALE)
    rng = np.random.default_rng(0)
    means = tuple(centre + rng.standard_normal(len(person)) for centre in (14, 8))
    deviations = tuple(1 + rng.random(len(person)) for _ in range(2))
    logits = known_logits(embeddings, person, first.others, label, SCALE)
    found = []
    for way in (naive.JointInference, JointInference):
        one = naive if way is naive.JointInference else sys.modules[fitted_densities.__module__]
        known = {
            "nothing": lambda: None,
            "densities": lambda one=one: one.fitted_densities(logits, label),
            "gaussians": lambda one=one: one.gaussian_densities(means, deviations),
        }[told]()
        inference = way(embeddings, person, first.others, first.log_odds, SCALE, learn_sizes)
        found.append(inference.log_odds(inference.learn(known)))
    assert np.ptp(found[0]) > 1
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-6)


def test_what_is_too_large_to_keep_is_computed_again_with_the_same_result(monkeypatch):
    embeddings, person, _ = gallery(40, 6, 3)
    kept = inference_of(embeddings, person)
    monkeypatch.setattr(subsets, "KEPT", 0)
    again = inference_of(embeddings, person)
    assert kept._groups._items is not None
    assert again._groups._items is None
    np.testing.assert_array_equal(again.log_odds(again.learn()), kept.log_odds(kept.learn()))


def test_people_are_taken_in_chunks(monkeypatch):
    embeddings, person, _ = gallery(20, 4, 2)
    whole = inference_of(embeddings, person)
    monkeypatch.setattr(subsets, "CHUNK", 3 * 4 * 16)
    parts = inference_of(embeddings, person)
    assert [len(g.rows) for g in parts._groups] == [3] * 6 + [2]
    np.testing.assert_allclose(parts.log_odds(parts.learn()), whole.log_odds(whole.learn()), rtol=0, atol=1e-9)
