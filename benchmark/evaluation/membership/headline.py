"""The two axes of the ranking, with paired bootstrap replicates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmark.evaluation.membership.scores import Scores
from benchmark.interfaces import Contrast
from benchmark.metrics.intervals import resample_people
from benchmark.metrics.roc import roc
from benchmark.records.results import Headline, Metric

CONTRASTS = (Contrast.SAMPLE, Contrast.IDENTITY)
REPLICATES = 200


@dataclass(frozen=True)
class Chosen:
    """The attack that did best on the first half of the people, and the threshold at which it did."""

    label: str
    contrast: Contrast
    threshold: float
    advantage: float


def first_half(people: np.ndarray, positive: np.ndarray, seed: int) -> np.ndarray:
    """People on whom attack and threshold are chosen: half of those with positives, half of those without.

    A pure function of the people and the seed, so that every entry of a split has the same halves.
    """
    chosen = []
    for stratum, group in enumerate((people[positive], people[~positive])):
        rng = np.random.default_rng([seed, 31, stratum])
        chosen.append(rng.permutation(np.sort(group))[: len(group) // 2])
    return np.concatenate(chosen)


def _strata(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """People, and which of them have positive photos."""
    people = np.unique(scores.identity)
    return people, np.isin(people, np.unique(scores.identity[scores.label == 1]))


def choose(scores: Mapping[tuple[str, Contrast], Scores], seed: int) -> Chosen | None:
    """The best attack, contrast and threshold on the first half of the people; None without any attack."""
    best: Chosen | None = None
    for (label, contrast), s in sorted(scores.items()):
        if contrast not in CONTRASTS:
            continue
        half = np.isin(s.identity, first_half(*_strata(s), seed))
        curve = roc(s.score[half], s.label[half] == 1)
        value = float(curve.advantage()[0])
        if best is None or value > best.advantage:
            best = Chosen(label, contrast, float(curve.best_threshold()[0]), value)
    return best


def leakage(scores: Scores, chosen: Chosen, seed: int) -> tuple[Metric, tuple[float, ...]]:
    """Membership advantage on the second half of the people, at the threshold chosen on the first."""
    people, positive = _strata(scores)
    reported = ~np.isin(people, first_half(people, positive, seed))
    people, positive = people[reported], positive[reported]
    hits = (scores.score >= chosen.threshold).astype(np.float64)
    # Per person: photos and hits, so that a replicate is two small matrix products.
    table = np.zeros((len(people), 4))
    for row, person in enumerate(people):
        own = scores.identity == person
        label = scores.label[own] == 1
        table[row] = (hits[own][label].sum(), label.sum(), hits[own][~label].sum(), (~label).sum())
    # Members are one stratum in every contrast, so that entries judged by different contrasts share their resampled members.
    counts = resample_people(np.where(positive, 0, 1), replicates=REPLICATES, seed=seed)
    replicates = _difference(counts @ table)
    value = float(_difference(table.sum(0)[None])[0])
    low, high = np.quantile(replicates, [0.025, 0.975])
    metric = Metric(
        value=value, low=float(low), high=float(high), n=len(people), unit="people", higher_is_better=False,
        method="percentile, bootstrap over people",
    )  # fmt: skip
    return metric, tuple(round(float(r), 5) for r in replicates)


def _difference(sums: np.ndarray) -> np.ndarray:
    return sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3]


def headline(
    scores: Mapping[tuple[str, Contrast], Scores], utility: Metric, utility_replicates: tuple[float, ...], seed: int
) -> Headline | None:
    """Utility and membership leakage of one entry; None where no attack gave a score.

    Args:
        scores: of every attack that counts, by (label, contrast).
        utility: TAR@FAR=1e-3 on verification people, with its replicates.
    """
    chosen = choose(scores, seed)
    if chosen is None:
        return None
    metric, replicates = leakage(scores[chosen.label, chosen.contrast], chosen, seed)
    return Headline(
        utility=utility,
        leakage=metric,
        leakage_contrast=chosen.contrast,
        leakage_attack=chosen.label,
        utility_replicates=utility_replicates,
        leakage_replicates=replicates,
    )
