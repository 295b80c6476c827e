"""The two axes of the ranking, with paired bootstrap replicates, and what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.evaluation.membership.pooling import Scores
from benchmark.interfaces import Contrast
from benchmark.metrics.intervals import Bootstrap, bootstrap_crossed
from benchmark.metrics.roc import roc
from benchmark.records.results import Headline, Metric

CONTRASTS = (Contrast.SAMPLE, Contrast.IDENTITY)
REPLICATES = 1000
KEPT = 200  # replicates that a record keeps for comparisons
EXPOSED = 0.01  # share of the photos
FEWEST_TARGETS = 4  # from which on the other targets can say which photos are exposed


@dataclass(frozen=True)
class Chosen:
    """The attack that did best on the first half of the people, and the threshold at which it did."""

    label: str
    contrast: Contrast
    threshold: float
    advantage: float


def first_half(people: np.ndarray, seed: int) -> np.ndarray:
    """The people on whom attack and threshold are chosen: a random half.

    A pure function of the people and the seed, so that every entry of a split has the same halves.
    """
    return np.random.default_rng([seed, 31]).permutation(np.unique(people))[: len(np.unique(people)) // 2]


def choose(scores: Mapping[tuple[str, Contrast], Scores], people: np.ndarray) -> Chosen | None:
    """The attack, contrast and threshold with the largest advantage on some people; None without any attack."""
    best: Chosen | None = None
    for (label, contrast), s in sorted(scores.items()):
        own = s.take(np.isin(s.identity, people))
        if contrast not in CONTRASTS or not 0 < own.label.sum() < len(own.label):
            continue
        curve = roc(own.score, own.label == 1)
        value = float(curve.advantage()[0])
        if best is None or value > best.advantage:
            best = Chosen(label, contrast, float(curve.best_threshold()[0]), value)
    return best


def advantage_at(scores: Scores, threshold: float, people: np.ndarray, targets: Sequence[int], seed: int) -> Bootstrap:
    """Membership advantage TPR - FPR at a threshold, people and targets resampled.

    The draws depend on the lists of people and of targets alone, so that entries of one split, judged by whichever attack and
    contrast, have paired replicates.

    Args:
        people: all who may be asked about, whether or not the contrast asks about them.
    """
    people = np.sort(people)
    row, column = np.searchsorted(people, scores.identity), np.searchsorted(targets, scores.target)
    hit, positive = scores.score >= threshold, scores.label == 1
    table = np.zeros((4, len(people), len(targets)))
    for part, chosen in zip(table, (hit & positive, positive, hit & ~positive, ~positive), strict=True):
        np.add.at(part, (row[chosen], column[chosen]), 1)

    def statistics(counts: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
        hits, positives, alarms, negatives = (np.einsum("rp,pt,rt->r", counts, part, draws, optimize=True) for part in table)
        return {"advantage": _rate(hits, positives) - _rate(alarms, negatives)}

    found = bootstrap_crossed(statistics, np.zeros(len(people), int), len(targets), replicates=REPLICATES, seed=seed)
    return found["advantage"]


def _rate(hits: np.ndarray, all_: np.ndarray) -> np.ndarray:
    """Shares (R,); where none of very few people was drawn, that of the first row, which is everybody."""
    first = hits[0] / all_[0] if all_[0] > 0 else np.nan
    return np.where(all_ > 0, hits / np.maximum(all_, 1), first)


def exposed_rows(scores: Scores, share: float = EXPOSED) -> np.ndarray:
    """(n,) bool: in each target the ``share`` of photos that the *other* targets show to be most exposed.

    A photo's exposure is how much higher it scores where it is a member, shrunk towards the average photo's by how few
    targets say so.  Its score and label under the target in question have no part in it.
    """
    photo = np.unique(scores.photo, return_inverse=True)[1]
    chosen = np.zeros(len(scores.score), bool)
    for number in np.unique(scores.target):
        here = scores.target == number
        exposure = _exposure(scores.score[~here], scores.label[~here], photo[~here], photo.max() + 1)[photo[here]]
        most = max(1, round(share * here.sum()))
        chosen[np.flatnonzero(here)[np.argsort(-exposure, kind="stable")[:most]]] = True
    return chosen


def _exposure(score: np.ndarray, label: np.ndarray, photo: np.ndarray, photos: int) -> np.ndarray:
    """(P,) expected score of a photo as a member less that as none; 0 where nothing is known."""
    inside, outside = (_shrunk(score[label == side], photo[label == side], photos) for side in (1, 0))
    result: np.ndarray = inside - outside
    return result


def _shrunk(score: np.ndarray, photo: np.ndarray, photos: int) -> np.ndarray:
    """(P,) best linear prediction of how far a photo's scores lie from the average photo's, from its own few."""
    if len(score) < 2:
        return np.zeros(photos)
    count = np.bincount(photo, minlength=photos)
    mean = np.bincount(photo, score, photos) / np.maximum(count, 1)
    several = np.maximum(count - 1, 0).sum()
    noise = float(np.square(score - mean[photo]).sum() / several) if several else float(np.var(score)) / 2
    seen = count > 0
    spread = float(np.var(mean[seen]) - noise * np.mean(1 / count[seen]))
    gain = count / (count + noise / max(spread, 1e-6 * noise, 1e-12))
    return gain * np.where(seen, mean - mean[seen].mean(), 0.0)


def headline(
    scores: Mapping[tuple[str, Contrast], Scores],
    utility: Metric,
    utility_replicates: tuple[float, ...],
    *,
    people: np.ndarray,
    targets: Sequence[int],
    low_fpr: Mapping[tuple[str, Contrast], Metric],
    seed: int,
) -> Headline | None:
    """Utility and membership leakage of one entry; None where no attack gave a score.

    Args:
        scores: of every attack that counts, by (label, contrast), over all targets.
        utility: TAR@FAR=1e-3 on verification people, with its replicates.
        people: all who may be asked about.
        low_fpr: TPR@0.1 %FPR of every attack and contrast.
    """
    first = first_half(people, seed)
    chosen = choose(scores, first)
    if chosen is None:
        return None
    second = np.setdiff1d(people, first)
    found = scores[chosen.label, chosen.contrast]
    reported = found.take(np.isin(found.identity, second))
    leak = advantage_at(reported, chosen.threshold, second, targets, seed)
    exposed = None
    if len(targets) >= FEWEST_TARGETS:
        most = reported.take(exposed_rows(reported))
        exposed = _metric(advantage_at(most, chosen.threshold, second, targets, seed), len(np.unique(most.identity)))
    return Headline(
        utility=utility,
        leakage=_metric(leak, len(second)),
        leakage_contrast=chosen.contrast,
        leakage_attack=chosen.label,
        targets=len(targets),
        low_fpr=low_fpr.get((chosen.label, chosen.contrast)),
        exposed=exposed,
        utility_replicates=utility_replicates,
        leakage_replicates=tuple(round(float(r), 5) for r in leak.replicates[:KEPT]),
    )


def _metric(found: Bootstrap, people: int) -> Metric:
    estimate = found.estimate
    return Metric(
        value=estimate.value, low=estimate.low, high=estimate.high, n=people, unit="people", higher_is_better=False,
        method=f"{estimate.method}, people and targets resampled",
    )  # fmt: skip
