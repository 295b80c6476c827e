from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark.evaluation.membership.pooling import Scores, comparable, load_scores, pooled, save_scores
from benchmark.interfaces import AttackSpec, Contrast
from benchmark.metrics.roc import auc
from benchmark.protocol.registry import build_attack


def some_scores(seed: int = 0, people: int = 4, each: int = 3) -> Scores:
    rng = np.random.default_rng(seed)
    n = people * each
    return Scores(rng.standard_normal(n), rng.integers(0, 2, n), np.repeat(np.arange(people), each), 100 + np.arange(n))


def test_scores_survive_the_disk(tmp_path):
    scores = {Contrast.SAMPLE: some_scores(), Contrast.PAPER: some_scores(1)}
    save_scores(tmp_path / "scores.npz", scores)
    again = load_scores(tmp_path / "scores.npz")
    assert {c: s.sha256 for c, s in again.items()} == {c: s.sha256 for c, s in scores.items()}
    assert (again[Contrast.SAMPLE].photo == scores[Contrast.SAMPLE].photo).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".scores.npz.sha256", "scores.npz"]
    save_scores(tmp_path / "none.npz", {})
    assert load_scores(tmp_path / "none.npz") == {}


def test_the_hash_of_scores_sees_every_part():
    scores = some_scores()
    others = [
        replace(scores, score=scores.score + 1e-12),
        replace(scores, label=1 - scores.label),
        replace(scores, identity=scores.identity[::-1]),
        replace(scores, target=np.arange(12) % 2),
    ]
    assert len({s.sha256 for s in (scores, *others)}) == 5
    assert replace(scores, label=scores.label.astype(np.int32)).sha256 == scores.sha256


def test_ranks_make_targets_comparable_and_keep_each_one_s_order():
    """One target's scores lie far above the other's: together they say nothing, by rank what each says alone."""
    rng = np.random.default_rng(0)
    label = np.tile([1, 0], 200)
    one, two = (Scores(rng.standard_normal(400) + label + shift, label, np.arange(400) // 4) for shift in (0.0, 50.0))
    two = replace(two, label=np.tile([0, 1], 200), score=two.score - 2 * label + 1)
    together = pooled([one, two], [3, 5], as_they_are=False)
    assert together.targets == 2
    alone = np.mean([auc(s.score, s.label) for s in (one, two)])
    assert auc(together.score, together.label) == pytest.approx(alone, abs=0.02)
    for scores, number in ((one, 3), (two, 5)):
        np.testing.assert_array_equal(np.argsort(together.of(number).score), np.argsort(scores.score))


def test_ratios_are_pooled_as_they_are_and_one_target_always_is():
    one, two = some_scores(0), some_scores(1)
    together = pooled([one, two], [0, 1], as_they_are=True)
    np.testing.assert_array_equal(together.score, np.concatenate([one.score, two.score]))
    np.testing.assert_array_equal(together.target, np.repeat([0, 1], 12))
    np.testing.assert_array_equal(together.photo, np.tile(one.photo, 2))
    np.testing.assert_array_equal(pooled([one], [4], as_they_are=False).score, one.score)


def test_equal_scores_stay_equal_by_rank():
    scores = Scores(np.array([1.0, 1.0, 2.0, 0.0]), np.array([1, 0, 1, 0]), np.arange(4))
    together = pooled([scores, scores], [0, 1], as_they_are=False).of(0)
    np.testing.assert_allclose(together.score, [0.5, 0.5, 0.875, 0.125])


@pytest.mark.parametrize(
    ("name", "settings", "same"),
    [("lira", {}, True), ("lira", {"knowledge": "auxiliary"}, False), ("bn_distance", {}, False), ("rmia", {}, True)],
)
def test_only_what_is_calibrated_by_the_population_s_own_shadows_compares(name, settings, same):
    assert comparable(build_attack(AttackSpec(name=name, settings=settings))) is same
