"""Goal B on embeddings whose right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.evaluation.inversion.identity_metrics import Gallery, GalleryView, identity_metrics, leakage, match

THRESHOLDS = {"1e-3": 0.7}
PEOPLE = 20


def gallery(photos: int = 2) -> Gallery:
    group = np.repeat([0, 1, 2], PEOPLE)
    return Gallery(group, np.repeat(np.arange(len(group)), photos))


def truth(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3 * PEOPLE, 32)).astype(np.float32)


def view(made: np.ndarray, seed: int = 0, thresholds=THRESHOLDS) -> GalleryView:
    return GalleryView(thresholds, made, np.repeat(truth(seed), 2, axis=0))


def test_members_rebuilt_are_counted_once():
    made = np.concatenate([truth()[:8], truth()[:8]])  # eight members, twice
    metrics = identity_metrics([view(made)], gallery(), seed=0)
    assert metrics["leakage"].value == pytest.approx(8 / PEOPLE)
    assert metrics["leakage@far=1e-3"].value == pytest.approx(8 / PEOPLE)
    assert metrics["leakage"].low > 0
    assert metrics["leakage"].note.startswith("8 distinct members, 0 distinct held-out")
    assert metrics["distinct:member"].value == pytest.approx(0.4)
    assert metrics["agreed"].value == 1


def test_held_out_people_are_subtracted_and_the_generators_left_out():
    made = truth()[[0, 1, 2, PEOPLE, PEOPLE + 1, 2 * PEOPLE]]
    metrics = identity_metrics([view(made)], gallery(), seed=0)
    assert metrics["leakage"].value == pytest.approx(1 / PEOPLE)
    assert metrics["distinct:generator_training"].value == pytest.approx(1 / PEOPLE)


def test_random_faces_give_no_gap():
    """Over many draws the difference is 0 on average, whatever the gallery."""
    rng = np.random.default_rng(1)
    values = []
    for _ in range(200):
        made = rng.normal(size=(PEOPLE, 32)).astype(np.float32)
        found = match([view(made)], gallery())
        values.append(leakage(found.by_rank, gallery().group, seed=0, replicates=1).estimate.value)
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert np.std(values) > 0


def test_two_judges_have_to_name_the_same_person():
    made = truth()[:6]
    other = GalleryView(THRESHOLDS, truth(7)[[0, 1, 2, 13, 14, 15]], np.repeat(truth(7), 2, axis=0))
    found = match([view(made), other], gallery())
    assert found.agreed.tolist() == [0, 1, 2, -1, -1, -1]
    assert found.by_rank.sum() == 3


def test_a_weak_match_is_no_acceptance():
    made = truth()[:6] + 2.5 * np.random.default_rng(3).normal(size=(6, 32)).astype(np.float32)
    found = match([view(made)], gallery())
    assert found.accepted.sum() < 6
    assert (found.by_rank >= found.accepted).all()


def test_a_threshold_that_cannot_be_measured_leaves_rank_alone():
    metrics = identity_metrics([view(truth()[:3], thresholds={"1e-3": None})], gallery(), seed=0)
    assert "leakage@far=1e-3" not in metrics
    assert metrics["leakage"].value == pytest.approx(3 / PEOPLE)


def test_nothing_found_has_an_interval_all_the_same():
    metrics = identity_metrics([view(truth()[-2:])], gallery(), seed=0)
    assert metrics["leakage"].value == 0
    assert metrics["leakage"].low < 0 < metrics["leakage"].high
