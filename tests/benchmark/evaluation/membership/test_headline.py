from __future__ import annotations

import numpy as np
import pytest

from benchmark.evaluation.membership.headline import (
    KEPT,
    advantage_at,
    choose,
    exposed_rows,
    first_half,
    headline,
)
from benchmark.evaluation.membership.pooling import Scores
from benchmark.interfaces import Contrast
from benchmark.records.results import Metric

SEED = 3
UTILITY = Metric(value=0.7, low=0.6, high=0.8, n=40)
PEOPLE = np.arange(60)


def population(shift: np.ndarray | float = 0.0, targets: int = 4, people: int = 60, photos: int = 4, seed: int = 0) -> Scores:
    """Half of the people are members of each target, half of their photos trained on; these score ``shift`` higher.

    Whom a target was trained on does not depend on the seed: two entries of a split share it.

    Args:
        shift: of all, or (people * photos,) of each photo.
    """
    rng = np.random.default_rng(seed)
    own = np.broadcast_to(np.asarray(shift, float), people * photos)
    parts = []
    for number in range(targets):
        halves = np.random.default_rng([77, number])
        members = halves.permutation(people)[: people // 2]
        photo = (members[:, None] * photos + np.arange(photos)).ravel()
        label = np.concatenate([halves.permutation(photos) < photos // 2 for _ in members]).astype(np.int64)
        score = rng.standard_normal(len(photo)) + own[photo] * label
        parts.append(Scores(score, label, photo // photos, photo, np.full(len(photo), number)))
    names = ("score", "label", "identity", "photo", "target")
    return Scores(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def reported(scores: Scores, seed: int = SEED, targets: int = 4):
    """Chosen on one half, as the headline is; the bootstrap on the other."""
    first = first_half(PEOPLE, seed)
    second = np.setdiff1d(PEOPLE, first)
    chosen = choose({("a", Contrast.SAMPLE): scores}, first)
    own = scores.take(np.isin(scores.identity, second))
    return chosen, advantage_at(own, chosen.threshold, second, range(targets), seed)


def of(scores: dict, seed: int = SEED, targets: int = 4):
    return headline(scores, UTILITY, (0.7,), people=PEOPLE, targets=range(targets), low_fpr={}, seed=seed)


# The halves


def test_halves_depend_on_people_and_seed_alone():
    people = np.array([9, 3, 7, 1, 5, 8])
    assert set(first_half(people[[4, 2, 0, 5, 1, 3]], SEED)) == set(first_half(people, SEED))
    assert len(first_half(people, SEED)) == 3
    assert set(first_half(np.arange(100), 0)) != set(first_half(np.arange(100), 1))


# Chosen on one half, reported on the other


def test_what_holds_on_the_first_half_alone_does_not_carry_over():
    """Photos of the first half leak perfectly, those of the second not at all: the choice sees 1, the report 0."""
    first = set(first_half(PEOPLE, SEED).tolist())
    shift = np.array([20.0 if photo // 4 in first else 0.0 for photo in range(240)])
    chosen, leak = reported(population(shift))
    assert chosen.advantage > 0.95
    assert abs(leak.estimate.value) < 0.2
    assert leak.estimate.low <= 0 <= leak.estimate.high


def test_a_threshold_fitted_to_noise_gives_nothing_on_average():
    """Many attacks of pure noise: the best on the first half looks leaky, on the second it is at 0 on average."""
    chosen_on, reported_on = [], []
    for run in range(25):
        scores = {(f"a{i}", Contrast.SAMPLE): population(seed=100 * run + i, targets=2) for i in range(8)}
        first = first_half(PEOPLE, SEED)
        chosen_on.append(choose(scores, first).advantage)
        reported_on.append(of(scores, targets=2).leakage.value)
    assert np.mean(chosen_on) > 0.1
    assert abs(np.mean(reported_on)) < 4 * np.std(reported_on) / np.sqrt(25)


def test_the_value_is_that_of_a_naive_count_over_all_targets():
    scores = population(0.8, seed=4)
    chosen, leak = reported(scores)
    second = set(PEOPLE.tolist()) - set(first_half(PEOPLE, SEED).tolist())
    rates = []
    for label in (1, 0):
        own = [s for s, y, p in zip(scores.score, scores.label, scores.identity, strict=True) if y == label and p in second]
        rates.append(sum(s >= chosen.threshold for s in own) / len(own))
    assert leak.estimate.value == pytest.approx(rates[0] - rates[1])
    assert leak.estimate.n == len(second) == 30


def test_the_strongest_attack_and_contrast_are_chosen_without_the_mixed_one():
    scores = {
        ("weak", Contrast.SAMPLE): population(0.3),
        ("strong", Contrast.SAMPLE): population(1.0),
        ("strong", Contrast.IDENTITY): population(4.0),
        ("mixed", Contrast.PAPER): population(99.0),
    }
    top = of(scores)
    assert (top.leakage_attack, top.leakage_contrast) == ("strong", Contrast.IDENTITY)
    assert top.leakage.value > 0.8
    assert not top.nothing_found
    assert top.utility == UTILITY
    assert top.targets == 4
    assert "targets resampled" in top.leakage.method


def test_the_low_false_positive_rate_is_the_headline_s_attack_s():
    low = Metric(value=0.4, low=0.3, high=0.5, n=60)
    scores = {("a", Contrast.SAMPLE): population(1.0)}
    wanted = {("a", Contrast.SAMPLE): low, ("b", Contrast.SAMPLE): UTILITY}
    found = headline(scores, UTILITY, (), people=PEOPLE, targets=range(4), low_fpr=wanted, seed=SEED)
    assert found.low_fpr == low


def test_without_an_attack_there_is_no_headline():
    assert of({}) is None
    assert of({("a", Contrast.PAPER): population(1.0)}) is None


def test_an_attack_worse_than_chance_leaks_nothing():
    """Its best threshold calls nobody a member."""
    top = of({("a", Contrast.SAMPLE): population(-50.0)})
    assert top.leakage.value == 0
    assert top.nothing_found


def test_pure_noise_is_nothing_found_with_a_limit():
    top = of({("a", Contrast.SAMPLE): population(0.0, seed=11)})
    assert top.nothing_found
    assert top.detection_limit == top.leakage.high > 0


# Replicates


def test_replicates_surround_the_value():
    top = of({("a", Contrast.SAMPLE): population(1.0)})
    assert len(top.leakage_replicates) == KEPT
    assert top.leakage.low < top.leakage.value < top.leakage.high
    assert abs(np.mean(top.leakage_replicates) - top.leakage.value) < 4 * np.std(top.leakage_replicates) / np.sqrt(KEPT)


def test_replicates_of_two_entries_are_paired_over_people_and_targets():
    """Two entries share what is hard about photos: replicates move together, and a copy differs by exactly nothing."""
    hard = 1.0 + 2 * np.random.default_rng(5).standard_normal(240)
    found = [np.array(of({("a", Contrast.SAMPLE): population(hard, seed=s)}).leakage_replicates) for s in (1, 2, 1)]
    assert np.array_equal(found[0], found[2])
    assert np.corrcoef(found[0], found[1])[0, 1] > 0.3


def test_more_targets_make_the_interval_narrower():
    few, many = (of({("a", Contrast.SAMPLE): population(0.7, targets=t, seed=2)}, targets=t).leakage for t in (2, 16))
    assert many.high - many.low < 0.7 * (few.high - few.low)


# The most exposed photos


def test_the_most_exposed_photos_are_found_from_other_targets():
    """One photo in a hundred leaks strongly, the others not at all: the average hides them, this does not."""
    exposed = np.zeros(240 * 5)
    chosen = np.random.default_rng(0).permutation(len(exposed))[:12]
    exposed[chosen] = 12.0
    scores = population(exposed, targets=16, people=300)
    rows = exposed_rows(scores)
    assert np.isin(scores.photo[rows], chosen).mean() > 0.8
    for number in range(16):
        assert rows[scores.target == number].sum() == round(0.01 * (scores.target == number).sum())


def test_exposure_of_pure_noise_is_no_leak():
    scores = population(0.0, targets=8, people=300, seed=9)
    own = scores.take(exposed_rows(scores, 0.05))
    found = advantage_at(own, 0.0, np.arange(300), range(8), SEED).estimate
    assert found.low <= 0 <= found.high


def test_few_targets_cannot_say_which_photos_are_exposed():
    assert of({("a", Contrast.SAMPLE): population(1.0, targets=2)}, targets=2).exposed is None
    assert of({("a", Contrast.SAMPLE): population(1.0)}).exposed is not None
