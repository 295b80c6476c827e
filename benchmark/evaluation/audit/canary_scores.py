"""Scores of canaries: how much a backbone, met without its head, behaves as if it had been trained on each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from benchmark.data.populations import Populations
from benchmark.evaluation.audit.canaries import Canaries
from benchmark.interfaces import NotApplicableError
from benchmark.signals.answers import Embedding
from benchmark.signals.extraction import extract
from benchmark.signals.target import Target

Floats = NDArray[np.float64]
EMBEDDING = Embedding(raw=True)
SCALE = 32.0  # of the softmax, that of the tracks' heads


def score_canaries(
    target: Target,
    populations: Populations,
    canaries: Canaries,
    *,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Floats:
    """(m,) scores, higher = rather trained on: the log-posterior of the name that a canary was given, under a regrown head.

    The auditor holds the members' seen photos and grows the dropped classification layer from them: a class is the
    normalised mean of a person's embeddings.  A photo that was trained on under somebody's name lies near their mean,
    whatever it shows; a person who was trained on has photos near each other and far from all members.

    Raises:
        NotApplicableError: a person has one photo only, so that nothing is left to grow a class from.
    """
    seen, asked = populations.seen, canaries.photos
    gallery = unit(np.asarray(extract(target, seen, (EMBEDDING,), cache=cache, progress=progress)[EMBEDDING], np.float64))
    photos = unit(np.asarray(extract(target, asked, (EMBEDDING,), cache=cache, progress=progress)[EMBEDDING], np.float64))
    members, person = np.unique(np.asarray(seen.identity), return_inverse=True)
    sums = np.zeros((len(members), gallery.shape[1]))
    np.add.at(sums, person, gallery)
    if canaries.plan.unit == "person":
        return _people(photos, canaries.canary, unit(sums))
    own = np.searchsorted(members, np.asarray(asked.identity))
    others = sums[own]
    if canaries.copied is not None:
        if (np.bincount(person)[own] < 2).any():
            raise NotApplicableError("copies of a person's only photo cannot be scored: nothing else shows that person.")
        others = others - gallery[canaries.copied]
    logits = photos @ unit(sums).T
    logits[np.arange(len(logits)), own] = (photos * unit(others)).sum(1)
    result: Floats = SCALE * logits[np.arange(len(logits)), own] - logsumexp(SCALE * logits, axis=1)
    return result


def _people(photos: Floats, canary: NDArray[np.int64], members: Floats) -> Floats:
    """Mean log-posterior, over a person's photos, of the class grown from that person's other photos."""
    count = np.bincount(canary)
    if (count < 2).any():
        raise NotApplicableError("a person with one photo cannot be scored: there is nothing to compare that photo with.")
    sums = np.zeros((len(count), photos.shape[1]))
    np.add.at(sums, canary, photos)
    own = (photos * unit(sums[canary] - photos)).sum(1)
    logits = np.column_stack([own, photos @ members.T])
    posterior = SCALE * own - logsumexp(SCALE * logits, axis=1)
    return np.bincount(canary, weights=posterior) / count


def unit(vectors: Floats) -> Floats:
    """Rows scaled to length 1; zero rows stay zero."""
    result: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return result
