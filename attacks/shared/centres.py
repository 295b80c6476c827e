"""Class centres from a gallery: the classification layer that was dropped, as far as embeddings of the people tell it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from benchmark.interfaces import NotApplicableError, SignalRequest, Signals

BLOCK = 1024  # photos at once
CACHED = 512  # photos whose logits a processor's cache holds
LOGITS = 1 << 22  # of photos to other people's centres that are held at once


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; zero rows stay zero."""
    result: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return result


def whole(person: np.ndarray, inside: np.ndarray) -> bool:
    """Whether each person (N,) is inside (N,) with all photos or with none."""
    share = np.bincount(person, inside) / np.bincount(person)
    return bool(np.isin(share, (0, 1)).all())


def gallery(signals: Signals, request: SignalRequest) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, D) of length 1, and people (N,) numbered 0..P-1.

    Raises:
        NotApplicableError: a person has one photo only, so that nothing is left to grow a centre from.
    """
    people, person, count = np.unique(signals.identity, return_inverse=True, return_counts=True)
    if (count < 2).any():
        raise NotApplicableError(
            f"{int((count < 2).sum())} of {len(people)} people have one photo only; a centre needs two or more a person."
        )
    raw = signals[request]
    embeddings = np.empty(raw.shape)
    for block in blocks(len(raw)):
        embeddings[block] = unit(np.asarray(raw[block], np.float64))
    return embeddings, person


@dataclass(frozen=True)
class Posterior:
    """What a regrown head says of N photos: scaled cosines to the own centre, and how they compare with all other centres."""

    own: np.ndarray  # (N,) s cos(f(x), c_p), the photo itself left out of c_p
    others: np.ndarray  # (N,) log of the mean over q != p of exp(s cos(f(x), c_q)): a mean, so that populations compare

    @property
    def log_odds(self) -> np.ndarray:
        """(N,) logit of the own class's softmax, but for the number of people: the same order, without a ceiling."""
        result: np.ndarray = self.own - self.others
        return result


def regrow(embeddings: np.ndarray, person: np.ndarray, scale: float, weights: np.ndarray | None = None) -> Posterior:
    """Every photo under centres that are weighted means of the people's photos; a photo does not vote on its own centre.

    Args:
        embeddings: (N, D), of length 1.
        person: (N,) int, 0..P-1, each with at least two photos.
        weights: (N,) of the photos in their person's centre; default all 1.
    """
    sums = person_sums(embeddings, person, weights)
    own = np.empty(len(embeddings))
    for block in blocks(len(embeddings)):
        vectors = embeddings[block]
        voting = vectors if weights is None else vectors * weights[block, None]
        own[block] = scale * (vectors * unit(sums[person[block]] - voting)).sum(1)
    return Posterior(own, log_mean_others(embeddings, person, unit(sums), scale))


def blocks(count: int, size: int | None = None) -> Iterator[slice]:
    """``count`` rows, ``size`` (default ``BLOCK``) at once: what is made of them is never held for all."""
    size = size or BLOCK
    return (slice(start, start + size) for start in range(0, count, size))


def person_sums(vectors: np.ndarray, person: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """(P, D) sums of the vectors (N, D) of each person (N,), each as often as ``weights`` (N,) say."""
    people = int(person.max()) + 1
    sums = np.zeros((people, vectors.shape[1]))
    for block in blocks(len(vectors), max(BLOCK, people)):  # a sparse product: much faster than adding row by row
        rows = person[block]
        weight = np.ones(len(rows)) if weights is None else weights[block]
        sums += csr_array((weight, (rows, np.arange(len(rows)))), shape=(people, len(rows))) @ vectors[block]
    return sums


def log_mean_others(embeddings: np.ndarray, person: np.ndarray, centres: np.ndarray, scale: float) -> np.ndarray:
    """(N,) log of the mean over the other people's centres (P, D) of exp(scaled cosine)."""
    others = np.empty(len(embeddings))
    scaled = scale * centres.T
    for block in blocks(len(embeddings), max(1, min(CACHED, LOGITS // len(centres)))):
        logits = embeddings[block] @ scaled
        logits[np.arange(len(logits)), person[block]] = -np.inf
        others[block] = log_sum(logits)
    result: np.ndarray = others - np.log(max(1, len(centres) - 1))
    return result


def log_sum(logits: np.ndarray) -> np.ndarray:
    """(N,) log of the sum of exp over each row of (N, M) logits, which are overwritten; -inf where a row is nothing else.

    A quarter of the time of scipy's function, which copes with any array, at equal results.
    """
    highest: np.ndarray = logits.max(axis=1)
    shift = np.where(np.isfinite(highest), highest, 0.0)
    logits -= shift[:, None]
    np.exp(logits, out=logits)
    with np.errstate(divide="ignore"):
        result: np.ndarray = np.log(logits.sum(axis=1)) + shift
    return result


def weigh(log_odds: np.ndarray, person: np.ndarray, sharpness: float) -> np.ndarray:
    """(N,) weights softmax(sharpness * log_odds) within each person, the largest being 1."""
    exponent = sharpness * log_odds
    largest = np.full(person.max() + 1, -np.inf)
    np.maximum.at(largest, person, exponent)
    result: np.ndarray = np.exp(exponent - largest[person])
    return result


def regrow_weighted(
    embeddings: np.ndarray, person: np.ndarray, scale: float, *, sharpness: float = 0.2, rounds: int = 5
) -> Posterior:
    """Photos weigh in their person's centre as much as they look trained on; the weights and the centres in turn.

    Photos that were trained on lie close to the true centre and to one another, so their vote finds it.
    """
    posterior = regrow(embeddings, person, scale)
    for _ in range(rounds):
        posterior = regrow(embeddings, person, scale, weigh(posterior.log_odds, person, sharpness))
    return posterior
