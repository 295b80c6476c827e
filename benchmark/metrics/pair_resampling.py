"""Verification metrics under resampled people, without a pass over the pairs for every resample.

With person p drawn c_p times, a pair of p's photos weighs c_p, a pair of different people c_p * c_q, and pairs of two
copies of one person are dropped.  The pairs are sorted once into the bins between chosen thresholds; the weights of all
resamples in a bin are then one sparse product a block of photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from benchmark.metrics.cosines import CODES, EmbeddingSet, cosine, pair_blocks
from benchmark.metrics.roc import Roc

TARGETS = (1e-2, 1e-3, 1e-4)  # false accept rates
_PEOPLE_AT_ONCE = 16  # bounds the table of people x thresholds x resamples
_POSITIVES, _NEGATIVES, _WINDOW = 400, 250, 150  # thresholds: at same scores, at different scores, around each target


def tar_name(target: float) -> str:
    """The metric's name, such as ``tar@far=0.001``."""
    return f"tar@far={target:g}"


def pair_metrics(curve: Roc) -> dict[str, np.ndarray]:
    """Every pair metric (R,) of a curve, measurable or not."""
    tar = {tar_name(target): curve.tpr_at_fpr(target)[0] for target in TARGETS}
    return {**tar, "auc": curve.auc(), "eer": curve.eer(), "d_prime": curve.d_prime()}


@dataclass(frozen=True)
class PairStatistics:
    """:func:`pair_metrics` over all pairs of a set for counts (K, P) of its people, at at most about 1,500 thresholds."""

    embeddings: EmbeddingSet
    bin_of: np.ndarray  # (CODES,) position of the first threshold, from the top, that a code reaches
    score: np.ndarray  # (G,) falling: mean score of the pairs in each bin

    @classmethod
    def of(cls, embeddings: EmbeddingSet, same: np.ndarray, different: np.ndarray) -> PairStatistics:
        """With thresholds chosen from the histograms (CODES,) of the same- and different-person pairs."""
        lowest = interval_codes(same, different)
        bin_of = len(lowest) - np.searchsorted(lowest, np.arange(CODES), side="right")
        pairs = np.bincount(bin_of, weights=same + different)
        total = np.bincount(bin_of, weights=(same + different) * cosine(np.arange(CODES)))
        return cls(embeddings, bin_of, np.where(pairs > 0, total / np.maximum(pairs, 1), cosine(lowest[::-1])))

    def __call__(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        tp, fp = self._mass(np.ascontiguousarray(counts.T, np.float32))
        return pair_metrics(Roc(np.append(np.inf, self.score), tp, fp, round(tp[0, -1]), round(fp[0, -1])))

    def _mass(self, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights of same and of different pairs that reach each threshold, from +inf down: two (K, G + 1)."""
        people, bins, resamples = len(drawn), len(self.score), drawn.shape[1]
        same, different = np.zeros((bins + 1, resamples)), np.zeros((bins + 1, resamples))
        for block in pair_blocks(self.embeddings, _PEOPLE_AT_ONCE):
            person = self.embeddings.person[block.begin :]
            lowest = person[0]
            local = person[: len(block.codes)] - lowest
            rows = local[:, None] * bins + self.bin_of[block.codes]
            of_people = drawn[lowest : lowest + local[-1] + 1]
            shape = (len(of_people) * bins, people)
            columns = np.broadcast_to(person, rows.shape)[block.different]
            pairs = csr_array((np.ones(len(columns), np.float32), (rows[block.different], columns)), shape=shape)
            partners = (pairs @ drawn).reshape(-1, bins, resamples)
            different[1:] += np.einsum("pgk,pk->gk", partners, of_people)
            own = np.bincount(rows[block.same], minlength=shape[0]).reshape(-1, bins)
            same[1:] += own.T @ of_people
        return np.cumsum(same, axis=0).T, np.cumsum(different, axis=0).T


def interval_codes(same: np.ndarray, different: np.ndarray) -> np.ndarray:
    """Rising codes of the thresholds: at and just above same-person scores, around the targets, and down the other scores."""
    positives = np.flatnonzero(same)
    if len(positives) > _POSITIVES:
        positives = _at_shares(same, np.linspace(0, 1, _POSITIVES))
    windows = [np.geomspace(target / 4, target * 4, _WINDOW) for target in TARGETS]
    negatives = _at_shares(different, np.concatenate([*windows, np.linspace(0, 1, _NEGATIVES)]))
    return np.unique(np.concatenate([[0], positives, np.minimum(positives + 1, CODES - 1), negatives]))


def _at_shares(histogram: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The codes down to which the given shares of the scores lie."""
    reached = np.cumsum(histogram[::-1])
    result: np.ndarray = CODES - 1 - np.searchsorted(reached, np.maximum(1, np.floor(shares * reached[-1])))
    return result
