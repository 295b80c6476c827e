"""Reconstructed faces -> how far they show the people they should: pure functions of embeddings.

Every model that judges (``View``) embeds the reconstructions and real photos; what the panel says is what all its views say
together, decision by decision.  Intervals resample people.

Goal A, template -> face: *type I* compares a reconstruction with the very photo whose template leaked, *type II* with other
photos of the person (Mai et al. 2019).  Recognisable faces of anybody are no leak of training data, so every rate stands
beside its gap, members minus held-out people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.interfaces import FaceVeilError
from benchmark.metrics.cosines import unit_length
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.intervals import bootstrap_many, clopper_pearson
from benchmark.metrics.manifold import NEIGHBOURS, compare
from benchmark.records.results import Metric

RANKS = (1, 10)
COVERED_AT = "1e-3"  # the FAR at which a person counts as shown, for identity coverage
REPLICATES = 1000
_GROUPS = 20  # of people left out in turn, for the interval of the Fréchet distance


@dataclass(frozen=True)
class Targets:
    """Who should be seen: ``person`` (N,) and ``member`` (N,) bool of each reconstruction, ``gallery`` (G,) people of photos.

    The gallery holds other photos than those whose templates leaked, of the targets and of anybody else.
    """

    person: np.ndarray
    member: np.ndarray
    gallery: np.ndarray

    def __post_init__(self) -> None:
        missing = np.setdiff1d(self.person, self.gallery)
        if len(missing):
            raise FaceVeilError(f"{len(missing)} target people have no photo in the gallery; give each at least one.")


@dataclass(frozen=True)
class View:
    """What one model makes of them: embeddings as it gives them, and its cosine thresholds by FAR (None: not measurable)."""

    thresholds: Mapping[str, float | None]
    reconstructions: np.ndarray  # (N, D)
    sources: np.ndarray  # (N, D) the photos whose templates leaked
    gallery: np.ndarray  # (G, D)


@dataclass(frozen=True)
class Decisions:
    """Per reconstruction (N,): the share of its comparisons that accept it, by the metric's name.

    ``distance`` (N,) is that to the nearest other photo of the person, between unit embeddings, mean over the views.
    """

    values: Mapping[str, np.ndarray]
    distance: np.ndarray


def decide(views: Sequence[View], targets: Targets) -> Decisions:
    """What the views accept together: a comparison counts where every view accepts it.

    Rates whose threshold some view cannot measure are left out.  A tie in identification is a miss.
    """
    row, column = np.nonzero(targets.person[:, None] == targets.gallery[None])  # comparisons of type II
    first: dict[str, np.ndarray] = {}  # (N,) of type I and identification
    second: dict[str, np.ndarray] = {}  # (pairs,) of type II
    distance = np.zeros(len(targets.person))
    measurable = [far for far in views[0].thresholds if all(v.thresholds.get(far) is not None for v in views)]
    for view in views:
        unit, sources, gallery = (unit_length(e) for e in (view.reconstructions, view.sources, view.gallery))
        same, scores = np.einsum("nd,nd->n", unit, sources), unit @ gallery.T
        own = scores[row, column]
        for far in measurable:
            _both(first, f"type1_tar@far={far}", same >= view.thresholds[far])
            _both(second, f"type2_tar@far={far}", own >= view.thresholds[far])
        rank = _rank(scores, targets)
        for most in RANKS:
            _both(first, f"rank{most}", rank <= most)
        nearest = np.full(len(unit), -1.0)
        np.maximum.at(nearest, row, own)
        distance += np.sqrt(np.maximum(2 - 2 * nearest, 0)) / len(views)
    comparisons = np.bincount(row, minlength=len(targets.person))
    values = {name: decision.astype(np.float64) for name, decision in first.items()}
    for name, decision in second.items():
        values[name] = np.bincount(row, weights=decision, minlength=len(comparisons)) / comparisons
    return Decisions(values, distance)


def _both(decisions: dict[str, np.ndarray], name: str, decision: np.ndarray) -> None:
    decisions[name] = decisions[name] & decision if name in decisions else decision


def _rank(scores: np.ndarray, targets: Targets) -> np.ndarray:
    """The rank (N,) of each reconstruction's own person among all people of the gallery, each by their nearest photo."""
    people, of = np.unique(targets.gallery, return_inverse=True)
    best = np.full((len(scores), len(people)), -np.inf, scores.dtype)
    for person in range(len(people)):
        best[:, person] = scores[:, of == person].max(1)
    position = np.searchsorted(people, targets.person)
    own = best[np.arange(len(scores)), position]
    return np.asarray((best >= own[:, None]).sum(1))


def picture_metrics(distance: np.ndarray, targets: Targets, *, seed: int) -> dict[str, Metric]:
    """LPIPS (N,) between reconstructions and the photos whose templates leaked: mean over members, and the gap."""
    metrics = {"lpips": _mean(distance[targets.member], targets.person[targets.member], seed, None)}
    if (~targets.member).any():
        metrics["gap:lpips"] = _gap(distance, targets.member, targets.person, seed, None)
    return metrics


def template_metrics(views: Sequence[View], targets: Targets, *, seed: int) -> dict[str, Metric]:
    """Goal A: every rate on members, and as ``gap:`` on members minus held-out people, with intervals over people.

    ``identity_coverage`` is the share of people whom some reconstruction shows, and ``knn_distance`` the distance to the
    nearest other photo, mean over the views.  Empty without a view.
    """
    if not views:
        return {}
    found = decide(views, targets)
    values = {**found.values, "knn_distance": found.distance}
    member, person = targets.member, targets.person
    metrics: dict[str, Metric] = {}
    for name, value in values.items():
        better = None if name == "knn_distance" else False
        metrics[name] = _mean(value[member], person[member], seed, better)
        if (~member).any():
            metrics[f"gap:{name}"] = _gap(value, member, person, seed, better)
    metrics["identity_coverage"] = _coverage(found, member, person, seed)
    return metrics


def _coverage(found: Decisions, member: np.ndarray, person: np.ndarray, seed: int) -> Metric:
    """The share of the members whom some reconstruction shows to every view, by another photo."""
    accepted = found.values.get(f"type2_tar@far={COVERED_AT}")
    people = np.unique(person[member])
    if accepted is None:
        return Metric(value=None, n=len(people), unit="people", note=f"not measurable at FAR={COVERED_AT}")
    shown = np.isin(people, person[member & (accepted > 0)]).astype(np.float64)
    return _mean(shown, people, seed, False)


def _mean(value: np.ndarray, person: np.ndarray, seed: int, better: bool | None) -> Metric:
    """The mean over photos with its interval over people."""
    found = bootstrap_many(lambda w: {"mean": (w @ value) / w.sum(1)}, person, replicates=REPLICATES, seed=seed)
    return Metric.of(found["mean"].estimate, higher_is_better=better)


def _gap(value: np.ndarray, member: np.ndarray, person: np.ndarray, seed: int, better: bool | None) -> Metric:
    """Mean over members minus mean over held-out people."""

    def statistics(w: np.ndarray) -> Mapping[str, np.ndarray]:
        inside, outside = w[:, member], w[:, ~member]
        return {"gap": inside @ value[member] / inside.sum(1) - outside @ value[~member] / outside.sum(1)}

    found = bootstrap_many(statistics, person, labels=member, replicates=REPLICATES, seed=seed)["gap"]
    metric = Metric.of(found.estimate, higher_is_better=better)
    people = min(len(np.unique(person[side])) for side in (member, ~member))
    return settled_gap(metric, people)


def settled_gap(metric: Metric, people: int) -> Metric:
    """A difference of two shares whose replicates are all equal, with what ``people`` on each side cannot exclude."""
    value = metric.value
    if value is None or metric.method not in ("clopper_pearson", "degenerate"):
        return metric
    reach = clopper_pearson(0, people)[1]
    update = {"low": max(-1.0, value - reach), "high": min(1.0, value + reach), "method": "clopper_pearson"}
    return metric.model_copy(update=update)


def distribution_metrics(
    real: np.ndarray, generated: np.ndarray, person: np.ndarray, *, seed: int, k: int = NEIGHBOURS
) -> dict[str, Metric]:
    """Fréchet distance, precision, recall, density and coverage of generated (F, D) against real features (R, D).

    Args:
        person: (R,) whom the real photos show: what intervals of recall and coverage resample.
    """
    if min(len(real), len(generated)) <= k:
        note = f"not measurable: {min(len(real), len(generated))} samples, more than {k} needed"
        return {"fid": Metric(value=None, n=len(generated), unit="images", note=note)}
    found = compare(real, generated, k)
    images = np.arange(len(generated))
    metrics = {"fid": _fid(real, generated)}
    for name in ("precision", "density"):
        metrics[name] = _mean(getattr(found, name), images, seed, None).model_copy(update={"unit": "images"})
    for name in ("recall", "coverage"):
        metrics[name] = _mean(getattr(found, name), person, seed, None)
    return metrics


def _fid(real: np.ndarray, generated: np.ndarray) -> Metric:
    """Fréchet distance with a jackknife interval over groups of the generated images."""
    value = frechet_distance(real, generated)
    groups = np.array_split(np.arange(len(generated)), min(_GROUPS, len(generated) // 2))
    spread = None
    if len(groups) > 1 and min(len(generated) - len(g) for g in groups) > 1:
        left = np.array([frechet_distance(real, np.delete(generated, g, axis=0)) for g in groups])
        spread = 1.96 * float(np.sqrt((len(left) - 1) / len(left) * np.sum((left - left.mean()) ** 2)))
    note = "on our own features" + (", biased: fewer images than dimensions" if len(generated) <= real.shape[1] else "")
    low, high = (None, None) if spread is None else (max(0.0, value - spread), value + spread)
    return Metric(value=value, low=low, high=high, n=len(generated), unit="images", method="jackknife", note=note)
