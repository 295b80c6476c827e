"""One number a photo, from what a backbone without its head (or, for reference, with it) says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from attacks.shared.centres import gallery, person_sums, regrow, regrow_weighted, unit
from benchmark.interfaces import NotApplicableError, SignalRequest, Signals
from benchmark.signals.answers import Embedding
from benchmark.signals.head import HeadOutput

SCALE = 32.0
EMBEDDING = Embedding()
HEAD_LOGIT = HeadOutput(statistic="logit")
StatisticName = Literal["centre_cosine", "regrown_logit", "weighted_logit", "compactness", "embedding_norm", "head_logit"]


@dataclass(frozen=True)
class Statistic:
    """A function of signals with the request that it reads."""

    request: SignalRequest
    of: Callable[[Signals], np.ndarray]


def centre_cosine(signals: Signals) -> np.ndarray:
    """Cosine to the mean of the person's other photos."""
    embeddings, person = gallery(signals, EMBEDDING)
    sums = person_sums(embeddings, person)
    result: np.ndarray = (embeddings * unit(sums[person] - embeddings)).sum(1)
    return result


def regrown_logit(signals: Signals) -> np.ndarray:
    """Log-odds of the regrown class, all photos alike in the centre."""
    return regrow(*gallery(signals, EMBEDDING), SCALE).log_odds


def weighted_logit(signals: Signals) -> np.ndarray:
    """Log-odds of the regrown class, photos weighted by how trained on they look."""
    return regrow_weighted(*gallery(signals, EMBEDDING), SCALE).log_odds


def compactness(signals: Signals) -> np.ndarray:
    """Mean cosine between a person's photos, the same for each of them."""
    embeddings, person = gallery(signals, EMBEDDING)
    count = np.bincount(person)
    sums = person_sums(embeddings, person)
    result: np.ndarray = ((np.square(sums).sum(1) - count) / (count * (count - 1)))[person]
    return result


def embedding_norm(signals: Signals, p: float = 2.0) -> np.ndarray:
    """Length (p-norm) of the embedding.

    Raises:
        NotApplicableError: the system normalises what it returns.
    """
    norms: np.ndarray = np.linalg.norm(np.asarray(signals[EMBEDDING], np.float64), ord=p, axis=1)
    if np.ptp(norms) <= 1e-5 * np.abs(norms).max():
        raise NotApplicableError("every embedding has the same norm: the system normalises what it returns.")
    return norms


def head_logit(signals: Signals) -> np.ndarray:
    """Log-odds of the own class under the training head: what LiRA scales the confidence to (arXiv 2112.03570)."""
    return of_own_class(signals, HEAD_LOGIT)


def of_own_class(signals: Signals, request: SignalRequest) -> np.ndarray:
    """What the training head says of each photo's own class, (N,); ``request`` is one of its statistics.

    Raises:
        NotApplicableError: the head has no class for people it was not trained on.
    """
    values = np.asarray(signals[request], np.float64)[:, 0]
    unknown = int((~np.isfinite(values)).sum())
    if unknown:
        raise NotApplicableError(f"the training head has no class for the people of {unknown} photos.")
    return values


STATISTICS: Mapping[StatisticName, Statistic] = {
    "centre_cosine": Statistic(EMBEDDING, centre_cosine),
    "regrown_logit": Statistic(EMBEDDING, regrown_logit),
    "weighted_logit": Statistic(EMBEDDING, weighted_logit),
    "compactness": Statistic(EMBEDDING, compactness),
    "embedding_norm": Statistic(EMBEDDING, embedding_norm),
    "head_logit": Statistic(HEAD_LOGIT, head_logit),
}
