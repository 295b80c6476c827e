"""Goal B: which training people were rebuilt from nothing.  Pure functions of embeddings.

Every reconstruction is matched by rank 1 in one gallery of three equal groups of people: members (by photos that were not
trained on), held-out people, and the people whom the generator was trained on.  A match counts where all views name the same
person.  Faces of the population match members and held-out people alike, so what was learnt from the attacked model is the
difference: distinct members minus distinct held-out people, as a share of the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.evaluation.inversion.template_metrics import REPLICATES, settled_gap
from benchmark.interfaces import FaceVeilError
from benchmark.metrics.cosines import unit_length
from benchmark.metrics.intervals import Bootstrap, Estimate, bootstrap_many
from benchmark.records.results import Metric

MEMBER, HELD_OUT, GENERATOR = 0, 1, 2
GROUPS = ("member", "held_out", "generator_training")


@dataclass(frozen=True)
class Gallery:
    """People (P,) numbered by their position; ``group`` (P,) is MEMBER, HELD_OUT or GENERATOR, each equally often."""

    group: np.ndarray
    photos: np.ndarray  # (G,) position in ``group`` of the person on each photo


@dataclass(frozen=True)
class GalleryView:
    """What one model makes of them: embeddings as it gives them, and its cosine thresholds by FAR."""

    thresholds: Mapping[str, float | None]
    reconstructions: np.ndarray  # (N, D)
    photos: np.ndarray  # (G, D)


@dataclass(frozen=True)
class Recovered:
    """``by_rank`` (P,) bool: people whom some reconstruction was matched with; ``accepted``: and at FAR=1e-3, besides.

    ``agreed`` (N,) is the person each reconstruction was matched with, -1 where the views disagree.
    """

    by_rank: np.ndarray
    accepted: np.ndarray | None
    agreed: np.ndarray


def match(views: Sequence[GalleryView], gallery: Gallery, far: str = "1e-3") -> Recovered:
    """Rank-1 matches that every view agrees on; a person stands in the gallery as the mean of their unit embeddings.

    A tie is no match.  ``accepted`` is None where some view cannot measure ``far``.
    """
    people = len(gallery.group)
    agreed: np.ndarray | None = None
    passed: np.ndarray | None = None
    for view in views:
        templates = np.zeros((people, view.photos.shape[1]), np.float32)
        np.add.at(templates, gallery.photos, unit_length(view.photos))
        scores = unit_length(view.reconstructions) @ unit_length(templates).T
        best = scores.max(1)
        named = np.where((scores == best[:, None]).sum(1) == 1, scores.argmax(1), -1)
        agreed = named if agreed is None else np.where(agreed == named, named, -1)
        threshold = view.thresholds.get(far)
        clear = np.full(len(best), np.nan) if threshold is None else (best >= threshold).astype(float)
        passed = clear if passed is None else passed * clear
    if agreed is None or passed is None:
        raise FaceVeilError("matching reconstructions takes one view of them or more.")
    hit = np.bincount(agreed[agreed >= 0], minlength=people) > 0
    if np.isnan(passed).any():
        return Recovered(hit, None, agreed)
    sure = agreed[(agreed >= 0) & (passed == 1)]
    return Recovered(hit, np.bincount(sure, minlength=people) > 0, agreed)


def leakage(hit: np.ndarray, group: np.ndarray, *, seed: int, replicates: int = REPLICATES) -> Bootstrap:
    """Share of members hit minus share of held-out people hit; people of each group are resampled."""
    pair = np.flatnonzero(group != GENERATOR)
    member, value = group[pair] == MEMBER, hit[pair].astype(np.float64)

    def statistics(w: np.ndarray) -> Mapping[str, np.ndarray]:
        inside, outside = w[:, member], w[:, ~member]
        return {"leakage": inside @ value[member] / inside.sum(1) - outside @ value[~member] / outside.sum(1)}

    return bootstrap_many(statistics, pair, labels=member, replicates=replicates, seed=seed)["leakage"]


def settled(estimate: Estimate, hit: np.ndarray, group: np.ndarray) -> Metric:
    """A leakage as it stands in a record, with the counts it comes from."""
    people = int((group == MEMBER).sum())
    counts = [int(hit[group == g].sum()) for g in (MEMBER, HELD_OUT)]
    note = f"{counts[0]} distinct members, {counts[1]} distinct held-out people, of {people} each"
    return settled_gap(Metric.of(estimate, higher_is_better=False, note=note), people)


def identity_metrics(views: Sequence[GalleryView], gallery: Gallery, *, seed: int) -> dict[str, Metric]:
    """Goal B's metrics: ``leakage``, the same among matches at FAR=1e-3, and the share of each group that was matched.

    ``agreed`` is the share of reconstructions about which the views agree.  Empty without a view.
    """
    if not views:
        return {}
    found = match(views, gallery)
    metrics = {"leakage": _leakage_metric(found.by_rank, gallery.group, seed)}
    if found.accepted is not None:
        metrics["leakage@far=1e-3"] = _leakage_metric(found.accepted, gallery.group, seed)
    for number, name in enumerate(GROUPS):
        metrics[f"distinct:{name}"] = _share(found.by_rank[gallery.group == number], seed, False if number == MEMBER else None)
    metrics["agreed"] = _share(found.agreed >= 0, seed, None).model_copy(update={"unit": "images"})
    return metrics


def _share(hit: np.ndarray, seed: int, better: bool | None) -> Metric:
    value = hit.astype(np.float64)
    found = bootstrap_many(lambda w: {"share": w @ value / w.sum(1)}, np.arange(len(hit)), replicates=REPLICATES, seed=seed)
    return Metric.of(found["share"].estimate, higher_is_better=better)


def _leakage_metric(hit: np.ndarray, group: np.ndarray, seed: int) -> Metric:
    return settled(leakage(hit, group, seed=seed).estimate, hit, group)
