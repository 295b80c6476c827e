"""How is a network fed?  Candidates are measured on pairs of the user's own photos, and the best is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.interfaces import Photos
from benchmark.metrics.cosines import unit_length
from benchmark.metrics.roc import is_measurable, roc
from benchmark.models.imported import NORMALISATIONS, Imported, Order, input_spec
from benchmark.models.inputs import to_input
from benchmark.protocol.track import InputSpec

MOST_PHOTOS = 200  # of the people with most photos first: candidates differ by far more than this blurs
FAR = 1e-3
BATCH = 64


@dataclass(frozen=True)
class Candidate:
    """One way of feeding a network, and how well it tells people apart that way, over all pairs of ``photos``.

    ``tar`` is None where there are too few pairs of different people for FAR=1e-3.
    """

    normalisation: str
    order: Order
    input: InputSpec
    auc: float
    d_prime: float
    tar: float | None
    photos: int

    @property
    def separation(self) -> tuple[float, float]:
        """What candidates are ordered by: AUC, then d'."""
        return round(self.auc, 4), self.d_prime


def candidates(imported: Imported) -> Iterator[tuple[str, Order, InputSpec]]:
    """Every normalisation in both orders of the channels; what the import itself took comes first."""
    size = imported.input.size
    # (x - 127.5) / 128 is told from / 127.5 by no measurement: it stays where a layout says so
    names = [
        name
        for name in NORMALISATIONS
        if name != "centred128" or input_spec(name, size, imported.input.order) == imported.input
    ]
    ways = [(name, order, input_spec(name, size, order)) for name in names for order in ("RGB", "BGR")]
    yield from sorted(ways, key=lambda way: way[2] != imported.input)  # type: ignore[misc]


def check_inputs(imported: Imported, photos: Photos, *, step: Callable[[str], object] = str) -> list[Candidate]:
    """Candidates, the best first.

    Args:
        photos: aligned faces of several people with two photos each or more; at most 200 are used.
    """
    chosen = _chosen(np.asarray(photos.identity))
    found = []
    for name, order, spec in candidates(imported):
        step(f"measuring {name}, {order}")
        found.append(Candidate(name, order, spec, *separation(imported, photos, chosen, spec), photos=len(chosen)))
    return sorted(found, key=lambda candidate: candidate.separation, reverse=True)


def separation(imported: Imported, photos: Photos, chosen: np.ndarray, spec: InputSpec) -> tuple[float, float, float | None]:
    """AUC, d' and TAR@FAR=1e-3 of the cosines of all pairs of the ``chosen`` photos, fed as ``spec`` says."""
    backbone = imported.backbone().to(memory_format=torch.channels_last)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(chosen), BATCH):
            images = photos.load(chosen[start : start + BATCH])
            rows.append(backbone(to_input(images, spec).contiguous(memory_format=torch.channels_last)).numpy())
    vectors = unit_length(np.concatenate(rows))
    identity = np.asarray(photos.identity)[chosen]
    first, second = np.triu_indices(len(vectors), 1)
    curve = roc((vectors @ vectors.T)[first, second], identity[first] == identity[second])
    tar = float(curve.tpr_at_fpr(FAR)[0][0]) if is_measurable(curve.n_negative, FAR) else None
    return float(curve.auc()[0]), float(curve.d_prime()[0]), tar


def _chosen(identity: np.ndarray) -> np.ndarray:
    """Indices of at most that many photos, whole people, those with most photos first; people of one photo last."""
    people, inverse, counts = np.unique(identity, return_inverse=True, return_counts=True)
    order = np.argsort(-np.minimum(counts, 4), kind="stable")
    rank = np.empty(len(people), np.int64)
    rank[order] = np.arange(len(people))
    by_person = np.argsort(rank[inverse], kind="stable")
    return np.sort(by_person[:MOST_PHOTOS])
