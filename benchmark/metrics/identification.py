"""Rank-1 identification and 10-fold accuracy, which count a person's own photos, under resampled people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.metrics.cosines import BLOCK, EmbeddingSet, codes
from benchmark.metrics.roc import roc

FOLDS = 10
PAIRS_PER_FOLD = 300  # of each kind, as in LFW View 2


@dataclass(frozen=True)
class PeopleStatistics:
    """Rank-1 identification and 10-fold accuracy for counts (K, P) of people."""

    hits: np.ndarray  # (P,) probes recognised
    probes: np.ndarray  # (P,)
    score: np.ndarray  # (M,) of drawn pairs
    people: np.ndarray  # (2, M)
    fold: np.ndarray  # (M,)

    @classmethod
    def of(cls, faces: EmbeddingSet, seed: int) -> PeopleStatistics:
        first, second, fold = draw_fold_pairs(faces, seed)
        people = np.stack([faces.person[first], faces.person[second]])
        return cls(rank1_hits(faces), faces.size - 1, faces.cosines(first, second), people, fold)

    def __call__(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        first, second = counts[:, self.people[0]].astype(np.float64), counts[:, self.people[1]]
        same = self.people[0] == self.people[1]
        accuracy = np.full(len(counts), np.nan)
        if len(self.fold):
            per_fold = k_fold_accuracy(self.score, same, self.fold, np.where(same, first, first * second))
            with np.errstate(invalid="ignore"):
                accuracy = np.nansum(per_fold, axis=1) / np.isfinite(per_fold).sum(axis=1)
        return {"rank1": (counts @ self.hits) / (counts @ self.probes), "accuracy": accuracy}


def k_fold_accuracy(scores: np.ndarray, same: np.ndarray, folds: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Accuracy (R, F) of each fold at the threshold that is most accurate on the others, under pair weights (R, M).

    The threshold is the highest most accurate score of the others, moved half way to their next lower score.
    NaN where a fold has no weight.
    """
    weights = np.ones((1, len(scores))) if weights is None else weights
    label = np.asarray(same).astype(bool)
    accuracies = []
    for fold in np.unique(folds):
        held = folds == fold
        curve = roc(scores[~held], label[~held], weights[:, ~held])
        best = np.argmax(curve.tp - curve.fp, axis=1)  # most right decisions
        reached = curve.tp + curve.fp
        below = np.count_nonzero(reached <= reached[np.arange(len(best)), best, None], axis=1)  # next score with weight
        threshold = (curve.thresholds[best] + np.append(curve.thresholds, -np.inf)[below]) / 2
        right = (scores[held] >= threshold[:, None]) == label[held]
        with np.errstate(invalid="ignore"):
            accuracies.append((right * weights[:, held]).sum(axis=1) / weights[:, held].sum(axis=1))
    return np.stack(accuracies, axis=1)


def draw_fold_pairs(faces: EmbeddingSet, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photos and fold (M,) of the pairs for the 10-fold accuracy; empty where there are not two folds.

    In each fold of people, same-person pairs are drawn without replacement, and for each of them one different-person pair: its
    first photo, and a photo of somebody else of that fold.
    """
    number = min(FOLDS, len(faces.size) // 2, int(np.count_nonzero(faces.size > 1)))
    if number < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    generator = np.random.default_rng([seed, 1])
    people = generator.permutation(len(faces.size))
    people = people[np.argsort(faces.size[people] < 2, kind="stable")]  # people with pairs first: every fold gets some
    parts = []
    for fold in range(number):
        members = np.sort(people[fold::number])
        size, start = faces.size[members], faces.start[members]
        before = np.cumsum(size) - size  # photos of the fold before each member's
        pairs = np.cumsum(size * (size - 1) // 2)
        drawn = np.sort(generator.choice(pairs[-1], min(PAIRS_PER_FOLD, pairs[-1]), replace=False))
        owner = np.searchsorted(pairs, drawn, side="right")
        within = drawn - np.append(0, pairs)[owner]
        later = ((1 + np.sqrt(1 + 8 * within)) // 2).astype(np.int64)  # pair (i, j), i < j, is number j (j - 1) / 2 + i
        earlier = within - later * (later - 1) // 2
        stranger = generator.integers(0, size.sum() - size[owner])
        stranger += np.where(stranger >= before[owner], size[owner], 0)  # skips the person's own photos
        host = np.searchsorted(before, stranger, side="right") - 1
        first, second = start[owner] + earlier, start[owner] + later
        parts += [(first, second, np.full(len(first), fold))]
        parts += [(first, start[host] + stranger - before[host], np.full(len(first), fold))]
    first, second, fold_of = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return first, second, fold_of


def rank1_hits(faces: EmbeddingSet) -> np.ndarray:
    """Probes of each person (P,) that are strictly closest to their own person's first photo."""
    gallery = faces.unit[faces.start[:-1]]
    probes = np.setdiff1d(np.arange(len(faces.person)), faces.start[:-1])
    hits = np.zeros(len(gallery))
    rows = max(1, BLOCK // len(gallery))
    for begin in range(0, len(probes), rows):
        block = probes[begin : begin + rows]
        score, own = codes(faces.unit[block] @ gallery.T), faces.person[block]
        reached = score[np.arange(len(block)), own]
        score[np.arange(len(block)), own] = -1
        hits += np.bincount(own[reached > score.max(axis=1)], minlength=len(hits))
    return hits
