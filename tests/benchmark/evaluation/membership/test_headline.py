from __future__ import annotations

import numpy as np
import pytest

from benchmark.evaluation.membership.headline import REPLICATES, choose, first_half, headline, leakage
from benchmark.evaluation.membership.scores import Scores
from benchmark.interfaces import Contrast
from benchmark.records.results import Metric

SEED = 3
UTILITY = Metric(value=0.7, low=0.6, high=0.8, n=40)


def sample(people: np.ndarray, shift: dict[int, float] | float, seed: int = 0, each: int = 2) -> Scores:
    """Seen and unseen photos of the same people; ``shift`` is by how much seen photos score higher, by person."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(people, 2 * each)
    label = np.tile(np.repeat([1, 0], each), len(people))
    own = np.array([shift[p] if isinstance(shift, dict) else shift for p in identity.tolist()])
    return Scores(rng.standard_normal(len(identity)) + own * label, label, identity)


def identity_contrast(members: np.ndarray, others: np.ndarray, shift: float, seed: int = 0, each: int = 2) -> Scores:
    rng = np.random.default_rng(seed)
    people = np.concatenate([members, others])
    identity = np.repeat(people, each)
    label = np.isin(identity, members).astype(np.int64)
    return Scores(rng.standard_normal(len(identity)) + shift * label, label, identity)


def halves(scores: Scores, seed: int = SEED) -> tuple[set[int], set[int]]:
    people = np.unique(scores.identity)
    positive = np.isin(people, scores.identity[scores.label == 1])
    first = set(first_half(people, positive, seed).tolist())
    return first, set(people.tolist()) - first


# The halves


def test_halves_are_disjoint_and_stratified():
    scores = identity_contrast(np.arange(40), np.arange(100, 160), 1.0)
    first, second = halves(scores)
    assert len(first & set(range(40))) == 20
    assert len(first - set(range(40))) == 30
    assert len(second) == 50


def test_halves_depend_on_people_and_seed_alone():
    people = np.array([9, 3, 7, 1, 5, 8])
    positive = np.array([True, True, False, True, False, True])
    order = np.array([4, 2, 0, 5, 1, 3])
    first = first_half(people, positive, SEED)
    assert set(first_half(people[order], positive[order], SEED)) == set(first)
    wide = np.arange(100)
    assert set(first_half(wide, wide >= 0, 0)) != set(first_half(wide, wide >= 0, 1))


def test_both_contrasts_put_the_same_members_in_the_first_half():
    members = np.arange(50)
    of_sample, _ = halves(sample(members, 1.0))
    of_identity, _ = halves(identity_contrast(members, np.arange(100, 150), 1.0))
    assert of_sample == of_identity & set(members.tolist())


# Chosen on one half, reported on the other


def test_what_holds_on_the_first_half_alone_does_not_carry_over():
    """Members of the first half leak perfectly, those of the second not at all: the choice sees 1, the report 0."""
    people = np.arange(60)
    first, _ = halves(sample(people, 0.0))
    scores = sample(people, {p: 20.0 if p in first else 0.0 for p in range(60)})
    chosen = choose({("planted", Contrast.SAMPLE): scores}, SEED)
    assert chosen.advantage == 1.0
    metric, _ = leakage(scores, chosen, SEED)
    assert metric.value < 0.15
    assert metric.low <= 0 <= metric.high


def test_a_threshold_fitted_to_noise_gives_nothing_on_average():
    """Many attacks of pure noise: the best on the first half looks leaky, on the second it is at 0 on average."""
    people = np.arange(40)
    chosen_on, reported_on = [], []
    for run in range(30):
        scores = {(f"a{i}", Contrast.SAMPLE): sample(people, 0.0, seed=100 * run + i) for i in range(8)}
        chosen = choose(scores, SEED)
        chosen_on.append(chosen.advantage)
        reported_on.append(leakage(scores[chosen.label, chosen.contrast], chosen, SEED)[0].value)
    assert np.mean(chosen_on) > 0.15
    assert abs(np.mean(reported_on)) < 4 * np.std(reported_on) / np.sqrt(30)


def test_the_value_is_that_of_a_naive_count():
    scores = sample(np.arange(30), 0.8, seed=4, each=3)
    chosen = choose({("a", Contrast.SAMPLE): scores}, SEED)
    first, second = halves(scores)

    def advantage(threshold: float, people: set[int]) -> float:
        rates = []
        for label in (1, 0):
            own = [s for s, y, p in zip(scores.score, scores.label, scores.identity, strict=True) if y == label and p in people]
            rates.append(sum(s >= threshold for s in own) / len(own))
        return rates[0] - rates[1]

    assert chosen.advantage == pytest.approx(max(advantage(t, first) for t in scores.score))
    assert advantage(chosen.threshold, first) == pytest.approx(chosen.advantage)
    metric, _ = leakage(scores, chosen, SEED)
    assert metric.value == pytest.approx(advantage(chosen.threshold, second))
    assert metric.n == len(second) == 15


def test_the_strongest_attack_and_contrast_are_chosen_without_the_mixed_one():
    members, others = np.arange(40), np.arange(100, 140)
    scores = {
        ("weak", Contrast.SAMPLE): sample(members, 0.3),
        ("strong", Contrast.SAMPLE): sample(members, 1.0),
        ("strong", Contrast.IDENTITY): identity_contrast(members, others, 4.0),
        ("mixed", Contrast.PAPER): identity_contrast(members, others, 99.0),
    }
    chosen = choose(scores, SEED)
    assert (chosen.label, chosen.contrast) == ("strong", Contrast.IDENTITY)
    top = headline(scores, UTILITY, (0.7,), SEED)
    assert (top.leakage_attack, top.leakage_contrast) == ("strong", Contrast.IDENTITY)
    assert top.leakage.value > 0.8
    assert top.utility == UTILITY


def test_without_an_attack_there_is_no_headline():
    assert headline({}, UTILITY, (), SEED) is None
    mixed = {("a", Contrast.PAPER): identity_contrast(np.arange(20), np.arange(30, 50), 1.0)}
    assert headline(mixed, UTILITY, (), SEED) is None


def test_an_attack_worse_than_chance_leaks_nothing():
    """Its best threshold calls nobody a member."""
    scores = sample(np.arange(20), -50.0)
    chosen = choose({("a", Contrast.SAMPLE): scores}, SEED)
    assert chosen.threshold == np.inf
    assert leakage(scores, chosen, SEED)[0].value == 0


# Replicates


def test_replicates_surround_the_value_and_make_the_interval():
    scores = sample(np.arange(200), 1.0)
    metric, replicates = leakage(scores, choose({("a", Contrast.SAMPLE): scores}, SEED), SEED)
    assert len(replicates) == REPLICATES
    assert metric.low < metric.value < metric.high
    np.testing.assert_allclose((metric.low, metric.high), np.quantile(replicates, [0.025, 0.975]), atol=1e-5)
    assert abs(np.mean(replicates) - metric.value) < 4 * np.std(replicates) / np.sqrt(REPLICATES)


def test_replicates_of_two_entries_are_paired():
    """Two entries share a person's difficulty: paired replicates move together, and a copy differs by exactly nothing."""
    people = np.arange(80)
    hard = np.random.default_rng(5).standard_normal(80)
    one, two = (sample(people, {p: 1.0 + 2 * hard[p] for p in range(80)}, seed=s) for s in (1, 2))
    found = [np.array(leakage(s, choose({("a", Contrast.SAMPLE): s}, SEED), SEED)[1]) for s in (one, two, one)]
    assert np.array_equal(found[0], found[2])
    assert np.corrcoef(found[0], found[1])[0, 1] > 0.3


def test_replicates_resample_members_alike_in_both_contrasts():
    """Only members vary here: held-out people all score the same, and no unseen photo is called a member."""
    members = np.arange(40)
    hard = np.random.default_rng(6).random(40) < 0.5
    label = np.tile([1, 0], 40)
    identity = np.repeat(members, 2)
    of_sample = Scores(np.where(label == 1, hard[identity], 0).astype(float), label, identity)
    held_out = np.arange(100, 140)
    of_identity = Scores(np.concatenate([hard, np.zeros(40)]), np.repeat([1, 0], 40), np.concatenate([members, held_out]))
    found = []
    for contrast, scores in ((Contrast.SAMPLE, of_sample), (Contrast.IDENTITY, of_identity)):
        found.append(leakage(scores, choose({("a", contrast): scores}, SEED), SEED))
    assert found[0][0].value == found[1][0].value > 0
    assert found[0][1] == found[1][1]
