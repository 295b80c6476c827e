"""Reconstruction metrics on embeddings whose right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.evaluation.inversion.template_metrics import Targets, View, decide, distribution_metrics, template_metrics
from benchmark.interfaces import FaceVeilError

THRESHOLDS = {"1e-2": 0.5, "1e-3": 0.7, "1e-4": None}


def people(count: int, size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)


def world(members: int = 30, held_out: int = 30, others: int = 2):
    """Targets, and the true embedding of each person; a person's photos are alike."""
    count = members + held_out
    targets = Targets(np.arange(count), np.arange(count) < members, np.repeat(np.arange(count), others))
    return targets, people(count)


def view(targets: Targets, truth: np.ndarray, reconstructions: np.ndarray, thresholds=THRESHOLDS) -> View:
    rng = np.random.default_rng(9)
    gallery = truth[targets.gallery] + 0.1 * rng.normal(size=(len(targets.gallery), truth.shape[1])).astype(np.float32)
    return View(thresholds, reconstructions, truth[targets.person], gallery)


def test_perfect_reconstructions():
    targets, truth = world()
    metrics = template_metrics([view(targets, truth, truth)], targets, seed=0)
    for name in ("type1_tar@far=1e-2", "type2_tar@far=1e-3", "rank1", "rank10", "identity_coverage"):
        assert metrics[name].value == 1
        assert metrics[name].high == 1
        assert 0.8 < metrics[name].low < 1
        assert metrics[name].n == 30
    assert metrics["gap:type1_tar@far=1e-2"].value == 0
    assert metrics["gap:type1_tar@far=1e-2"].low < 0 < metrics["gap:type1_tar@far=1e-2"].high
    assert "type1_tar@far=1e-4" not in metrics, "a rate whose threshold cannot be measured has no value"
    assert metrics["knn_distance"].value < 0.2


def test_faces_of_others_are_rejected():
    targets, truth = world()
    metrics = template_metrics([view(targets, truth, people(60, seed=5))], targets, seed=0)
    assert metrics["type1_tar@far=1e-2"].value == 0
    assert metrics["identity_coverage"].value == 0
    assert metrics["rank1"].value < 0.15
    assert metrics["knn_distance"].value > 1


def test_the_gap_is_members_minus_held_out():
    targets, truth = world()
    made = np.where(targets.member[:, None], truth, people(60, seed=5))
    gap = template_metrics([view(targets, truth, made)], targets, seed=0)["gap:type2_tar@far=1e-2"]
    assert gap.value == 1
    assert gap.low > 0.7


def test_an_artefact_for_one_judge_does_not_count():
    """Both must accept: the first is fooled, the second is not."""
    targets, truth = world()
    fooled, sober = view(targets, truth, truth), view(targets, truth, people(60, seed=5))
    alone = template_metrics([fooled], targets, seed=0)["type1_tar@far=1e-2"].value
    together = template_metrics([fooled, sober], targets, seed=0)
    assert alone == 1
    assert together["type1_tar@far=1e-2"].value == 0
    assert together["rank1"].value <= template_metrics([sober], targets, seed=0)["rank1"].value


def test_type_2_counts_comparisons_type_1_photos():
    """A reconstruction like its source photo and like one of the person's two other photos."""
    targets = Targets(np.array([3]), np.array([True]), np.array([3, 3, 8]))
    a, b, c = np.eye(3, 4, dtype=np.float32)
    found = decide([View(THRESHOLDS, a[None], a[None], np.stack([a, b, c]))], targets)
    assert found.values["type1_tar@far=1e-2"].tolist() == [1]
    assert found.values["type2_tar@far=1e-2"].tolist() == [0.5]
    assert found.values["rank1"].tolist() == [1], "a person stands in the gallery with the nearest photo"
    assert found.distance[0] == pytest.approx(0, abs=1e-3)


def test_a_tie_is_a_miss():
    targets = Targets(np.array([0]), np.array([True]), np.array([0, 1]))
    a = np.array([[1.0, 0.0]], np.float32)
    found = decide([View(THRESHOLDS, a, a, np.concatenate([a, a]))], targets)
    assert found.values["rank1"].tolist() == [0]
    assert found.values["rank10"].tolist() == [1]


def test_rank_equals_a_plain_loop():
    targets, truth = world(12, 8, 3)
    made = truth + 1.2 * people(20, seed=4)
    v = view(targets, truth, made)
    unit = [e / np.linalg.norm(e, axis=1, keepdims=True) for e in (v.reconstructions, v.gallery)]
    for index, person in enumerate(targets.person):
        best = {p: max(unit[0][index] @ unit[1][j] for j in np.flatnonzero(targets.gallery == p)) for p in range(20)}
        rank = sum(score >= best[person] for score in best.values())
        found = decide([v], targets)
        assert found.values["rank1"][index] == (rank <= 1)
        assert found.values["rank10"][index] == (rank <= 10)


def test_intervals_hold_the_value_and_the_seed_decides():
    targets, truth = world()
    made = truth + 2.0 * people(60, seed=6)
    first, again = (template_metrics([view(targets, truth, made)], targets, seed=3) for _ in range(2))
    assert first == again
    for metric in first.values():
        if metric.value is not None and metric.low is not None:
            assert metric.low <= metric.value <= metric.high


def test_no_view_no_metric():
    targets, _ = world()
    assert template_metrics([], targets, seed=0) == {}


def test_a_target_without_another_photo_is_refused():
    with pytest.raises(FaceVeilError, match="1 target people have no photo"):
        Targets(np.array([1, 2]), np.array([True, False]), np.array([1, 1]))


def test_distributions():
    real, person = people(80), np.repeat(np.arange(40), 2)
    near = distribution_metrics(real, people(40, seed=1), person, seed=0)
    far = distribution_metrics(real, people(40, seed=1) + 5, person, seed=0)
    assert near["fid"].low < near["fid"].value < near["fid"].high < far["fid"].low
    assert far["precision"].value == far["coverage"].value == 0
    assert near["coverage"].value > 0.3
    assert near["coverage"].n == 40
    few = distribution_metrics(real, people(5), person, seed=0)
    assert few["fid"].value is None
    assert "5 samples" in few["fid"].note
