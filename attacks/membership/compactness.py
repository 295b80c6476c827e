"""Compactness and separation: do a trained person's embeddings lie closer together and farther from others?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import PrivateAttr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from attacks.shared.centres import person_sums
from attacks.shared.people import PeopleAttack, models, person_labels, require_people, require_photos
from benchmark.interfaces import Access, Reference, SignalRequest, Signals
from benchmark.signals.answers import Embedding

EMBEDDING = Embedding()


class Compactness(PeopleAttack):
    """A linear classifier on the logarithms of Euclidean distances: within a person, and to other people's centres.

    Metric learning draws the embeddings of a training person together and pushes others away.  One score a person, see
    :mod:`attacks.shared.people`.
    """

    name: ClassVar[str] = "compactness"
    title: ClassVar[str] = "compactness"
    summary: ClassVar[str] = "Distances within a person and to other people's centres: closer where the person was trained on."
    reference: ClassVar[Reference] = Reference(
        title="User-Level Membership Inference Attack against Metric Embedding Learning", where="2022", arxiv="2203.02077"
    )
    access: ClassVar[Access] = Access.EMBEDDING

    _classifier: Pipeline = PrivateAttr()

    def requests(self) -> tuple[SignalRequest, ...]:
        return (EMBEDDING,)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        """Learns from people.

        Raises:
            NotApplicableError: people with one photo, too few people, or photos of one person that differ in membership.
        """
        features, targets = [], []
        for rows in models(signals):
            targets.append(person_labels(signals.identity[rows], labels[rows]))
            features.append(distances(signals.take(rows))[0])
        require_people(np.concatenate(targets))
        self._classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))
        self._classifier.fit(np.concatenate(features), np.concatenate(targets))

    def score(self, signals: Signals) -> np.ndarray:
        """(N,) the person's score at each photo.

        Raises:
            NotApplicableError: people with one photo.
        """
        features, person = distances(signals)
        result: np.ndarray = self._classifier.decision_function(features)[person]
        return result


def distances(signals: Signals) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of distances (P, 6), and each photo's person (N,) as a row of them.

    Mean and largest distance of photos to their centre (leaving the photo out), mean distance of pairs; distance of the
    centre to the nearest other centre, mean distance to all, and length of the centre.
    """
    embeddings = np.asarray(signals[EMBEDDING], np.float64)
    people, person, counts = np.unique(signals.identity, return_inverse=True, return_counts=True)
    require_photos(counts, 2, "distances within a person need two or more")
    sums = person_sums(embeddings, person)
    centres = sums / counts[:, None]
    left_out = (sums[person] - embeddings) / (counts[person] - 1)[:, None]
    to_centre = np.linalg.norm(embeddings - left_out, axis=1)
    farthest = np.zeros(len(people))
    np.maximum.at(farthest, person, to_centre)
    # the mean squared distance of pairs is twice the variance around the centre
    spread = np.bincount(person, ((embeddings - centres[person]) ** 2).sum(1)) / (counts - 1)
    between = np.sqrt(np.maximum(_squared(centres), 0))
    np.fill_diagonal(between, np.inf)
    nearest = between.min(1)
    np.fill_diagonal(between, 0)
    columns = [
        np.bincount(person, to_centre) / counts,
        farthest,
        np.sqrt(2 * spread),
        nearest,
        between.sum(1) / max(1, len(people) - 1),
        np.linalg.norm(centres, axis=1),
    ]
    return np.log(np.stack(columns, axis=1) + 1e-9), person


def _squared(points: np.ndarray) -> np.ndarray:
    lengths = (points**2).sum(1)
    result: np.ndarray = lengths[:, None] + lengths[None, :] - 2 * points @ points.T
    return result
