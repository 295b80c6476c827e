"""Utility of a backbone: face verification and identification from embeddings.

Scores are cosines (``benchmark.metrics.cosines``), compared as they are: no sigmoid.  Intervals resample people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from benchmark.interfaces import FaceVeilError
from benchmark.metrics.cosines import EmbeddingSet, codes, cosine, histograms, unit_length
from benchmark.metrics.identification import PeopleStatistics, k_fold_accuracy
from benchmark.metrics.intervals import Bootstrap, Estimate, bootstrap_many, bootstrap_people
from benchmark.metrics.pair_resampling import TARGETS, PairStatistics, pair_metrics, tar_name
from benchmark.metrics.roc import Roc, operating_point, roc

HEADLINE = 1e-3
_INTERVAL_PAIRS = 30_000_000  # different-person pairs beyond which intervals use some of the people
_JACKKNIFE_GROUPS = 50


@dataclass(frozen=True)
class VerificationResult:
    """Verification and identification on photos of people.

    ``tar[a]`` is the true accept rate over all pairs at a false accept rate of at most ``a``; ``realised_far[a]`` and
    ``threshold[a]`` (a cosine) go with it; where there are fewer than 10 / a pairs of different people they are not
    measurable (value None).  ``accuracy`` is 10-fold.  ``rank1`` is closed-set identification: each person's first photo is
    the gallery, all other photos are probes, a tie is a miss; its interval resamples the probes' people and keeps the gallery.
    ``replicates`` (R,) are TAR@FAR=1e-3 on resampled people, empty where that is not measurable; ``replicates_of`` those of
    every metric: ``tar[a]`` by ``a``, the others by name.
    """

    tar: Mapping[float, Estimate]
    realised_far: Mapping[float, float | None]
    threshold: Mapping[float, float | None]
    auc: Estimate
    eer: Estimate
    d_prime: Estimate
    accuracy: Estimate
    rank1: Estimate
    replicates: np.ndarray
    photos: int
    people: int
    same_pairs: int
    different_pairs: int
    interval_people: int  # people behind the intervals of the pair metrics
    replicates_of: Mapping[float | str, np.ndarray] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data, from which :meth:`from_json` makes the result again (replicates to five digits)."""
        data = asdict(self)
        data["replicates"] = [round(float(r), 5) for r in self.replicates]
        data["replicates_of"] = [[key, [round(float(r), 5) for r in own]] for key, own in self.replicates_of.items()]
        for name in ("tar", "realised_far", "threshold"):
            data[name] = list(data[name].items())
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> VerificationResult:
        """What :meth:`to_json` gave."""
        values = dict(data)
        values["tar"] = {target: Estimate(**estimate) for target, estimate in data["tar"]}
        for name in ("realised_far", "threshold"):
            values[name] = dict(data[name])
        for name in ("auc", "eer", "d_prime", "accuracy", "rank1"):
            values[name] = Estimate(**data[name])
        values["replicates"] = np.array(data["replicates"])
        values["replicates_of"] = {key: np.array(own) for key, own in data["replicates_of"]}
        return VerificationResult(**values)


@dataclass(frozen=True)
class PairsResult:
    """Verification on a given list of pairs.  What is resampled, and counted by every ``n``, is folds."""

    tar: Mapping[float, Estimate]
    auc: Estimate
    eer: Estimate
    d_prime: Estimate
    accuracy: Estimate
    fold_accuracy: np.ndarray  # (folds,), in sorted order of the folds


def verification(embeddings: np.ndarray, identity: np.ndarray, *, seed: int, replicates: int = 200) -> VerificationResult:
    """Every metric of :class:`VerificationResult` with its interval, from embeddings (N, D) and people (N,).

    Values come from all pairs and all thresholds.  The accuracy uses 10 folds of people (fewer below 20 people), each with at
    most 300 same-person pairs and as many different-person pairs drawn with ``seed``; a fold's threshold comes from the
    others.  Intervals of the pair metrics are computed at up to about 1,500 thresholds, dense around the targets, and beyond
    30 million pairs on a random part of the people (then wider than need be), and are centred on the value.

    Raises FaceVeilError for embeddings that are zero or not finite, and without same-person or without different-person pairs.
    """
    identity = np.asarray(identity)
    unit = unit_length(embeddings)
    if identity.shape != unit.shape[:1]:
        raise FaceVeilError(f"{len(unit)} embeddings need as many people, not {identity.shape}")
    faces = EmbeddingSet.of(unit, identity)
    people, photos = len(faces.size), len(unit)
    if people < 2 or faces.size.max() < 2:
        raise FaceVeilError(f"verification needs two people, one with two photos; got {people} people and {photos} photos")
    same, different = histograms(faces)
    curve = _curve(same, different)
    points = {target: operating_point(curve, target) for target in TARGETS}

    several = (faces.size > 1).astype(np.int64)
    part = _interval_people(people, curve.n_negative, seed)
    of_pairs = _resample(PairStatistics.of(faces.take(part), same, different), several[part], replicates, seed)
    of_people = _resample(PeopleStatistics.of(faces, seed), several, replicates, seed)
    tar = {target: _centred(of_pairs[tar_name(target)], points[target].tpr) for target in TARGETS}
    others = {
        "auc": _centred(of_pairs["auc"], float(curve.auc()[0])),
        "eer": _centred(of_pairs["eer"], float(curve.eer()[0])),
        "d_prime": _centred(of_pairs["d_prime"], float(curve.d_prime()[0]), bounded=False),
        "accuracy": of_people["accuracy"],
        "rank1": of_people["rank1"],
    }
    everything: list[tuple[float | str, Bootstrap]] = [*tar.items(), *others.items()]
    return VerificationResult(
        tar={target: bootstrap.estimate for target, bootstrap in tar.items()},
        realised_far={target: point.fpr for target, point in points.items()},
        threshold={target: point.threshold for target, point in points.items()},
        auc=others["auc"].estimate,
        eer=others["eer"].estimate,
        d_prime=others["d_prime"].estimate,
        accuracy=others["accuracy"].estimate,
        rank1=others["rank1"].estimate,
        replicates=tar[HEADLINE].replicates,
        replicates_of={key: bootstrap.replicates for key, bootstrap in everything},
        photos=photos,
        people=people,
        same_pairs=curve.n_positive,
        different_pairs=curve.n_negative,
        interval_people=len(part),
    )


def verify_pairs(
    embeddings_a: np.ndarray,
    embeddings_b: np.ndarray,
    same: np.ndarray,
    folds: np.ndarray,
    *,
    seed: int = 0,
    replicates: int = 1000,
) -> PairsResult:
    """Verification of M given pairs (M, D), (M, D) with ``same`` (M,) bool and ``folds`` (M,) int, as in LFW View 2.

    Folds whose people are disjoint are the independent units of such a list: intervals resample folds.
    Raises FaceVeilError for embeddings that are zero or not finite, ill-fitting input and fewer than two folds.
    """
    label, fold_of = np.asarray(same), np.asarray(folds)
    a, b = unit_length(embeddings_a), unit_length(embeddings_b)
    if a.shape != b.shape or label.shape != a.shape[:1] or fold_of.shape != a.shape[:1]:
        raise FaceVeilError(f"pairs of {a.shape} and {b.shape} with {label.shape} labels and {fold_of.shape} folds do not fit")
    names, position = np.unique(fold_of, return_index=True)
    if len(names) < 2:
        raise FaceVeilError("the accuracy of a fold needs a threshold from other folds; give at least two folds")
    score = cosine(codes(np.einsum("nd,nd->n", a, b)))
    accuracy = k_fold_accuracy(score, label, fold_of)[0]

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        of_fold = weights[:, position]
        return {**pair_metrics(roc(score, label, weights)), "accuracy": of_fold @ accuracy / of_fold.sum(axis=1)}

    found = bootstrap_many(statistics, fold_of, replicates=replicates, seed=seed)
    curve = roc(score, label)
    return PairsResult(
        tar={target: _centred(found[tar_name(target)], operating_point(curve, target).tpr).estimate for target in TARGETS},
        auc=found["auc"].estimate,
        eer=found["eer"].estimate,
        d_prime=found["d_prime"].estimate,
        accuracy=found["accuracy"].estimate,
        fold_accuracy=accuracy,
    )


def _curve(same: np.ndarray, different: np.ndarray) -> Roc:
    """The exact curve of two histograms of codes."""
    present = np.flatnonzero(same + different)[::-1]
    tp = np.append(0.0, np.cumsum(same[present]))[None]
    fp = np.append(0.0, np.cumsum(different[present]))[None]
    return Roc(np.append(np.inf, cosine(present)), tp, fp, int(same.sum()), int(different.sum()))


def _interval_people(people: int, pairs: int, seed: int) -> np.ndarray:
    """Sorted positions of the people that intervals use: all, or as many as have about ``_INTERVAL_PAIRS`` pairs."""
    number = round(people * min(1.0, (_INTERVAL_PAIRS / pairs) ** 0.5))
    return np.sort(np.random.default_rng([seed, people]).permutation(people)[:number])


def _resample(
    statistics: PairStatistics | PeopleStatistics, several: np.ndarray, replicates: int, seed: int
) -> dict[str, Bootstrap]:
    """People with and without same-person pairs are strata; only the former can show a rate of 0 or 1."""
    trials = int(several.sum())
    return bootstrap_people(statistics, several, replicates=replicates, seed=seed, trials=trials, groups=_JACKKNIFE_GROUPS)


def _centred(bootstrap: Bootstrap, value: float | None, bounded: bool = True) -> Bootstrap:
    """The bootstrap of an approximation, moved to the exact value; without a value, not measurable and without replicates."""
    estimate = bootstrap.estimate
    if value is None or not np.isfinite(value):
        return Bootstrap(Estimate(None, None, None, estimate.n, "not_measurable"), np.zeros(0))
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return Bootstrap(replace(estimate, value=value), bootstrap.replicates)
    shift = value - estimate.value
    limits = (0.0, 1.0) if bounded else (-np.inf, np.inf)
    low, high = np.clip([estimate.low + shift, estimate.high + shift], *limits)
    moved = replace(estimate, value=value, low=float(low), high=float(high))
    return Bootstrap(moved, np.clip(bootstrap.replicates + shift, *limits))
