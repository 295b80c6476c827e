"""Verification against scikit-learn and loops over every pair."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmark.interfaces import FaceVeilError
from benchmark.metrics import cosines, pair_resampling
from benchmark.metrics import verification as verification_module
from benchmark.metrics.cosines import EmbeddingSet, histograms, unit_length
from benchmark.metrics.identification import FOLDS, PAIRS_PER_FOLD, draw_fold_pairs, k_fold_accuracy
from benchmark.metrics.intervals import resample_people
from benchmark.metrics.pair_resampling import PairStatistics
from benchmark.metrics.roc import auc, d_prime, eer, tpr_at_fpr
from benchmark.metrics.verification import verification, verify_pairs


def _faces(people, photos, noise=1.0, size=32, seed=0):
    """Embeddings (N, D) around a centre a person, in shuffled order; ``photos`` a number or one a person."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(people) * 7, photos)  # names need not be 0..P-1
    rng.shuffle(identity)
    return rng.normal(size=(people, size))[identity // 7] + noise * rng.normal(size=(len(identity), size)), identity


def _every_pair(embeddings, identity):
    """Cosines and labels of all pairs, one by one."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    pairs = list(itertools.combinations(range(len(unit)), 2))
    scores = np.array([unit[i] @ unit[j] for i, j in pairs])
    return scores, np.array([identity[i] == identity[j] for i, j in pairs])


@pytest.mark.parametrize("photos", [4, [1, 1, 2, 3, 5, 8, 13, 4, 6, 7, 1, 2, 3, 2, 2, 5, 9, 11, 1, 4, 3, 2, 6, 5, 7, 8]])
def test_values_are_those_of_all_pairs(photos):
    embeddings, identity = _faces(26, photos)
    scores, same = _every_pair(embeddings, identity)
    result = verification(embeddings, identity, seed=0, replicates=20)
    assert (result.same_pairs, result.different_pairs) == (same.sum(), (~same).sum())
    assert (result.people, result.photos) == (26, len(identity))
    assert result.auc.value == pytest.approx(roc_auc_score(same, scores), abs=2e-6)
    assert result.eer.value == pytest.approx(eer(scores, same), abs=1e-5)
    assert result.d_prime.value == pytest.approx(d_prime(scores, same), abs=1e-4)
    point = tpr_at_fpr(scores, same, 1e-2)
    assert result.tar[1e-2].value == pytest.approx(point.tpr)
    assert result.realised_far[1e-2] == pytest.approx(point.fpr)
    assert result.threshold[1e-2] == pytest.approx(point.threshold, abs=4e-6)
    for estimate in (result.tar[1e-2], result.auc, result.eer, result.d_prime, result.accuracy, result.rank1):
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.low < estimate.high


def test_a_rate_needs_ten_false_accepts():
    embeddings, identity = _faces(30, 4, noise=2.0)  # 6,960 pairs of different people
    result = verification(embeddings, identity, seed=0, replicates=20)
    assert result.tar[1e-2].value is not None
    for far in (1e-3, 1e-4):
        assert (result.tar[far].value, result.tar[far].low, result.tar[far].method) == (None, None, "not_measurable")
        assert (result.realised_far[far], result.threshold[far]) == (None, None)
    assert len(result.replicates) == 0


def test_replicates_are_paired_and_those_of_the_headline():
    embeddings, identity = _faces(60, 4, noise=1.6)
    clean = verification(embeddings, identity, seed=1)
    noisy = verification(embeddings + 0.2 * np.random.default_rng(1).normal(size=embeddings.shape), identity, seed=1)
    assert clean.replicates.shape == (200,)
    assert np.quantile(clean.replicates, 0.2) < clean.tar[1e-3].value < np.quantile(clean.replicates, 0.98)
    assert np.corrcoef(clean.replicates, noisy.replicates)[0, 1] > 0.5
    np.testing.assert_array_equal(clean.replicates, verification(embeddings, identity, seed=1).replicates)
    assert not np.array_equal(clean.replicates, verification(embeddings, identity, seed=2).replicates)


def _resampled(embeddings, identity, counts):
    """Every pair of a resample written out: copies of a person are different people, but never paired with each other."""
    people = np.unique(identity)
    rows = [(person, copy) for person, count in zip(people, counts, strict=True) for copy in range(int(count))]
    photos = [(row, i) for row, (person, _) in enumerate(rows) for i in np.flatnonzero(identity == person)]
    scores, same = [], []
    for (row_a, i), (row_b, j) in itertools.combinations(photos, 2):
        if row_a != row_b and rows[row_a][0] == rows[row_b][0]:
            continue
        scores.append(float(embeddings[i] @ embeddings[j]))
        same.append(row_a == row_b)
    return np.array(scores), np.array(same)


def test_weights_are_those_of_the_resample_written_out():
    embeddings, identity = _faces(12, [1, 2, 3, 4, 2, 3, 4, 5, 3, 2, 6, 1], noise=1.3)
    unit = unit_length(embeddings)
    faces = EmbeddingSet.of(unit, identity)
    counts = resample_people(np.zeros(12), replicates=6, seed=0)
    found = PairStatistics.of(faces, *histograms(faces))(counts)
    for row, count in enumerate(counts):
        scores, same = _resampled(unit.astype(np.float64), identity, count)
        assert found["auc"][row] == pytest.approx(auc(scores, same), abs=1e-5)
        assert found["eer"][row] == pytest.approx(eer(scores, same), abs=1e-4)
        assert found["d_prime"][row] == pytest.approx(d_prime(scores, same), rel=5e-3)
        positive, negative = scores[same], scores[~same]
        within = [t for t in np.append(scores, np.inf) if (negative >= t).mean() <= 1e-2]
        assert found["tar@far=0.01"][row] == pytest.approx(max((positive >= t).mean() for t in within))


def test_few_thresholds_are_enough_for_intervals(monkeypatch):
    embeddings, identity = _faces(80, 6, noise=1.8)
    faces = EmbeddingSet.of(unit_length(embeddings), identity)
    both = histograms(faces)
    counts = resample_people(np.zeros(80), replicates=30, seed=0)
    chosen = PairStatistics.of(faces, *both)
    monkeypatch.setattr(pair_resampling, "_POSITIVES", 10**6)
    every = PairStatistics.of(faces, *both)
    assert len(chosen.score) < 0.6 * len(every.score)
    few, all_of_them = chosen(counts), every(counts)
    for name in ("auc", "eer", "tar@far=0.01", "tar@far=0.001"):
        np.testing.assert_allclose(few[name], all_of_them[name], atol=0.004, err_msg=name)
    np.testing.assert_allclose(few["d_prime"], all_of_them["d_prime"], rtol=1e-3)


def test_blocks_change_nothing(monkeypatch):
    embeddings, identity = _faces(30, 5)
    whole = verification(embeddings, identity, seed=0, replicates=20)
    monkeypatch.setattr(cosines, "BLOCK", 300)
    monkeypatch.setattr(pair_resampling, "_PEOPLE_AT_ONCE", 2)
    parts = verification(embeddings, identity, seed=0, replicates=20)
    for name in ("auc", "eer", "d_prime", "accuracy", "rank1"):
        assert getattr(parts, name).value == pytest.approx(getattr(whole, name).value, abs=1e-6)
        assert getattr(parts, name).low == pytest.approx(getattr(whole, name).low, abs=1e-5)


def test_many_pairs_use_part_of_the_people_for_intervals_only(monkeypatch):
    embeddings, identity = _faces(60, 4, noise=1.6)
    whole = verification(embeddings, identity, seed=0)
    monkeypatch.setattr(verification_module, "_INTERVAL_PAIRS", whole.different_pairs // 9)
    part = verification(embeddings, identity, seed=0)
    assert (whole.interval_people, part.interval_people) == (60, 20)
    assert part.auc.value == whole.auc.value
    assert part.tar[1e-3].value == whole.tar[1e-3].value
    assert part.auc.low <= part.auc.value <= part.auc.high
    assert part.auc.high - part.auc.low > 1.2 * (whole.auc.high - whole.auc.low)
    assert part.rank1 == whole.rank1


def test_intervals_from_part_of_the_people_are_centred_on_the_value(monkeypatch):
    embeddings, identity = _faces(60, 4, noise=1.6)
    embeddings[identity < 30 * 7] *= np.linspace(0.2, 3, 32)  # half of the people are harder to tell apart
    whole = verification(embeddings, identity, seed=0)
    monkeypatch.setattr(verification_module, "_interval_people", lambda people, pairs, seed: np.arange(30))
    part = verification(embeddings, identity, seed=0)
    harder = verification(embeddings[identity < 30 * 7], identity[identity < 30 * 7], seed=0)
    shift = whole.auc.value - harder.auc.value
    assert abs(shift) > 0.005
    assert part.auc.value == whole.auc.value
    assert part.auc.low == pytest.approx(harder.auc.low + shift, abs=0.001)
    assert part.auc.high == pytest.approx(harder.auc.high + shift, abs=0.001)


def test_the_order_of_photos_does_not_count():
    embeddings, identity = _faces(30, 4)
    order = np.random.default_rng(0).permutation(len(identity))
    straight = verification(embeddings, identity, seed=0, replicates=30)
    shuffled = verification(embeddings[order], identity[order], seed=0, replicates=30)
    assert shuffled.auc == straight.auc
    assert shuffled.tar == straight.tar


def test_length_does_not_count():
    embeddings, identity = _faces(30, 4)
    scale = np.exp(np.random.default_rng(0).normal(size=(len(identity), 1)) * 5)
    scaled = verification((embeddings * scale).astype(np.float32), identity, seed=0, replicates=30)
    assert scaled.auc.value == pytest.approx(verification(embeddings, identity, seed=0, replicates=30).auc.value, abs=1e-6)


def test_a_collapsed_backbone_is_at_chance():
    _, identity = _faces(40, 4)
    rng = np.random.default_rng(0)
    embeddings = np.tile(rng.normal(size=(1, 128)), (len(identity), 1)) * rng.uniform(0.5, 2, size=(len(identity), 1))
    result = verification(embeddings, identity, seed=0, replicates=30)
    assert (result.auc.value, result.auc.method) == (0.5, "degenerate")
    assert (result.eer.value, result.accuracy.value, result.rank1.value) == (0.5, 0.5, 0.0)
    assert result.tar[1e-2].value == 0.0
    assert result.d_prime.value is None


def test_random_embeddings_are_at_chance():
    identity = np.repeat(np.arange(100), 4)
    result = verification(np.random.default_rng(0).normal(size=(400, 64)), identity, seed=0)
    assert result.auc.low < 0.5 < result.auc.high
    assert result.accuracy.low < 0.5 < result.accuracy.high
    assert result.tar[1e-2].value < 0.03
    assert result.rank1.value < 0.06


def test_perfect_embeddings_have_an_interval():
    identity = np.repeat(np.arange(50), 3)
    result = verification(np.eye(50)[identity], identity, seed=0)
    for estimate in (result.auc, result.tar[1e-2], result.tar[1e-3], result.accuracy, result.rank1):
        assert (estimate.value, estimate.high, estimate.method) == (1.0, 1.0, "clopper_pearson")
        assert estimate.low == pytest.approx(0.025 ** (1 / 50))
    assert (result.eer.value, result.eer.low) == (0.0, 0.0)


def test_signs_keep_their_ties():
    """Embeddings of +1 and -1 have few distinct cosines; equal ones must move together."""
    embeddings, identity = _faces(40, 4, size=48)
    scores, same = _every_pair(np.sign(embeddings), identity)
    result = verification(np.sign(embeddings), identity, seed=0, replicates=20)
    exact = np.round(scores * 48).astype(int)
    assert result.auc.value == pytest.approx(auc(exact, same), abs=1e-12)
    assert result.tar[1e-2].value == tpr_at_fpr(exact, same, 1e-2).tpr


def test_rank1_counts_strict_matches_with_each_persons_first_photo():
    embeddings, identity = _faces(40, [1] * 5 + [4] * 35, noise=1.5)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    first = {person: int(np.flatnonzero(identity == person)[0]) for person in np.unique(identity)}
    probes = [i for i in range(len(unit)) if i not in first.values()]
    hits = 0
    for i in probes:
        scores = {person: unit[i] @ unit[photo] for person, photo in first.items()}
        hits += all(scores[identity[i]] > s for person, s in scores.items() if person != identity[i])
    assert 0 < hits < len(probes)
    assert verification(embeddings, identity, seed=0, replicates=20).rank1.value == pytest.approx(hits / len(probes))


def test_folds_are_of_people_and_balanced():
    embeddings, identity = _faces(90, [1] * 20 + [2] * 20 + [5] * 50)
    faces = EmbeddingSet.of(unit_length(embeddings), identity)
    first, second, fold = draw_fold_pairs(faces, seed=0)
    same = faces.person[first] == faces.person[second]
    folds_of = {}
    for photo in (first, second):
        for person, number in zip(faces.person[photo], fold, strict=True):
            folds_of.setdefault(person, set()).add(number)
    assert max(len(numbers) for numbers in folds_of.values()) == 1
    assert set(fold) == set(range(FOLDS))
    for number in range(FOLDS):
        assert same[fold == number].sum() == (~same)[fold == number].sum() > 0
    drawn = {(min(a, b), max(a, b)) for a, b in zip(first[same], second[same], strict=True)}
    assert len(drawn) == same.sum() == 20 + 50 * 10  # all of them, each once, none with itself
    assert all(a != b for a, b in drawn)
    assert len(set(zip(first[~same], second[~same], strict=True))) > 0.9 * (~same).sum()


def test_folds_are_capped():
    embeddings, identity = _faces(20, 40)
    faces = EmbeddingSet.of(unit_length(embeddings), identity)
    first, second, fold = draw_fold_pairs(faces, seed=0)
    assert set(np.bincount(fold)) == {2 * PAIRS_PER_FOLD}
    strangers = faces.person[first] != faces.person[second]
    seen = np.unique(second[strangers])
    assert len(seen) > 0.9 * len(identity) * (1 - np.exp(-300 / 80))  # every photo may be a stranger's


def test_few_people_have_fewer_folds_or_no_accuracy():
    embeddings, identity = _faces(5, 3)
    faces = EmbeddingSet.of(unit_length(embeddings), identity)
    assert set(draw_fold_pairs(faces, seed=0)[2]) == {0, 1}
    two = verification(*_faces(2, 3), seed=0, replicates=20)
    assert (two.accuracy.value, two.accuracy.method) == (None, "not_measurable")
    assert 0 <= two.auc.value <= 1


def test_fold_accuracy_uses_the_threshold_of_the_others():
    rng = np.random.default_rng(0)
    same = np.arange(300) % 2 == 0
    scores, folds = np.round(rng.normal(size=300) + 2 * same, 1), np.arange(300) // 30
    expected = []
    for fold in range(10):
        train, test = folds != fold, folds == fold
        levels = sorted(set(scores[train]))
        accuracy = {t: np.mean((scores[train] >= t) == same[train]) for t in levels}
        best = max(t for t in levels if accuracy[t] == max(accuracy.values()))
        threshold = (best + max(t for t in levels if t < best)) / 2
        expected.append(np.mean((scores[test] >= threshold) == same[test]))
    np.testing.assert_allclose(k_fold_accuracy(scores, same, folds)[0], expected)
    weights = rng.integers(0, 3, size=(4, 300))
    for row, weight in enumerate(weights):
        repeated = k_fold_accuracy(np.repeat(scores, weight), np.repeat(same, weight), np.repeat(folds, weight))
        np.testing.assert_allclose(k_fold_accuracy(scores, same, folds, weights)[row], repeated[0])


def _pair_list(noise, pairs=600):
    rng = np.random.default_rng(0)
    same, folds = np.arange(pairs) % 2 == 0, np.arange(pairs) * 10 // pairs
    a = rng.normal(size=(pairs, 32))
    b = np.where(same[:, None], a, rng.normal(size=(pairs, 32)))
    return a + noise * rng.normal(size=a.shape), b + noise * rng.normal(size=a.shape), same, folds


def test_given_pairs():
    a, b, same, folds = _pair_list(noise=1.5, pairs=2400)
    result = verify_pairs(a, b, same, folds, replicates=200)
    scores = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(result.fold_accuracy, k_fold_accuracy(scores, same, folds)[0], atol=0.005)
    assert result.accuracy.value == pytest.approx(result.fold_accuracy.mean())
    assert (result.accuracy.n, result.accuracy.method) == (10, "bca")
    error = result.fold_accuracy.std(ddof=1) / np.sqrt(10)
    assert (result.accuracy.high - result.accuracy.low) / 2 == pytest.approx(1.96 * error, rel=0.3)
    assert result.auc.value == pytest.approx(roc_auc_score(same, scores), abs=1e-5)
    assert result.eer.value == pytest.approx(eer(scores, same), abs=1e-3)
    assert result.tar[1e-2].value == pytest.approx(tpr_at_fpr(scores, same, 1e-2).tpr, abs=1e-3)
    assert result.tar[1e-3].method == "not_measurable"  # 1,200 different pairs


def test_given_pairs_without_noise_are_all_right():
    result = verify_pairs(*_pair_list(noise=0.0), replicates=50)
    assert (result.accuracy.value, result.accuracy.method) == (1.0, "clopper_pearson")


def test_embeddings_without_direction_are_counted():
    embeddings, identity = _faces(20, 4)
    embeddings[7, 0] = np.inf
    with pytest.raises(FaceVeilError, match="1 of 80 embeddings are not finite and 0 are zero"):
        verification(embeddings, identity, seed=0)
    embeddings[0:3] = 0
    embeddings[5, 2] = np.nan
    with pytest.raises(FaceVeilError, match="2 of 80 embeddings are not finite and 3 are zero"):
        verification(embeddings, identity, seed=0)


@pytest.mark.parametrize("identity", [np.zeros(80), np.arange(80)])
def test_both_kinds_of_pairs_are_needed(identity):
    embeddings, _ = _faces(20, 4)
    with pytest.raises(FaceVeilError, match="two people, one with two photos"):
        verification(embeddings, identity, seed=0)


def test_ill_fitting_input_is_named():
    embeddings, identity = _faces(20, 4)
    with pytest.raises(FaceVeilError, match="80 embeddings need as many people"):
        verification(embeddings, identity[:-1], seed=0)
    with pytest.raises(FaceVeilError, match=r"\(N, D\)"):
        verification(embeddings[0], identity, seed=0)
    a, b, same, folds = _pair_list(0.5)
    with pytest.raises(FaceVeilError, match="do not fit"):
        verify_pairs(a, b[:-1], same, folds)
    with pytest.raises(FaceVeilError, match="two folds"):
        verify_pairs(a, b, same, np.zeros(len(a)))


@pytest.mark.slow
def test_the_interval_of_the_headline_covers():
    """95 % intervals of TAR@FAR=1e-3 of many small sets contain the rate of a large one."""
    truth = verification(*_faces(1500, 4, noise=1.3, seed=99), seed=0, replicates=20).tar[1e-3].value
    covered = 0
    for run in range(200):
        estimate = verification(*_faces(100, 4, noise=1.3, seed=run), seed=run).tar[1e-3]
        covered += estimate.low <= truth <= estimate.high
    assert 0.88 <= covered / 200 <= 0.99


@pytest.mark.slow
def test_thousands_of_photos_fit_in_memory():
    embeddings, identity = _faces(1700, 4, size=512, noise=2.5)
    tracemalloc.start()
    result = verification(embeddings.astype(np.float32), identity, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.different_pairs > 23_000_000
    assert result.tar[1e-4].low < result.tar[1e-4].value < result.tar[1e-4].high
    assert peak < 500e6
