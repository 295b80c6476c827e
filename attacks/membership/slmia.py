"""SLMIA: is a person among those trained on, read from how similar the person's photos are to each other and to others'?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import PrivateAttr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from attacks.shared.people import PeopleAttack, PeopleCosines, models, person_labels, require_people, require_photos
from benchmark.interfaces import Access, Reference, SignalRequest, Signals
from benchmark.signals.answers import Similarity

SIMILARITY = Similarity()


class SLMIA(PeopleAttack):
    """A linear classifier on 24 statistics of similarities within a person and 96 to others, carried from voices to faces.

    The other people of the query stand in for the imposters of the paper.  With ``mixing`` (the paper's mixing-ratio training)
    it learns from seen and unseen photos of members together, because an attacker does not know which of a person's photos
    were trained on; without, from photos like those that are asked about.  One score a person, see
    :mod:`attacks.shared.people`.
    """

    name: ClassVar[str] = "slmia"
    title: ClassVar[str] = "SLMIA-SR"
    summary: ClassVar[str] = "120 statistics of the similarities within a person and to other people."
    reference: ClassVar[Reference] = Reference(
        title="SLMIA-SR: Speaker-Level Membership Inference Attacks against Speaker Recognition Systems",
        where="NDSS 2024",
        arxiv="2309.07983",
    )
    access: ClassVar[Access] = Access.SIMILARITY

    mixing: bool = True

    _classifier: Pipeline = PrivateAttr()

    def requests(self) -> tuple[SignalRequest, ...]:
        return (SIMILARITY,)

    @property
    def mixes(self) -> bool:
        return self.mixing

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        """Learns from people; as many photos of each as the fewest have, so that counts tell nothing.

        Raises:
            NotApplicableError: people with one photo, or too few people.
        """
        rng = np.random.default_rng(0)
        features, targets = [], []
        for rows in models(signals):
            people = PeopleCosines.of(signals.take(rows), SIMILARITY)
            targets.append(person_labels(signals.identity[rows], labels[rows]))
            features.append(statistics(people.thinned(int(people.counts.min()), rng)))
        require_people(np.concatenate(targets))
        self._classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.03, max_iter=2000))
        self._classifier.fit(np.concatenate(features), np.concatenate(targets))

    def score(self, signals: Signals) -> np.ndarray:
        """(N,) the person's score at each photo.

        Raises:
            NotApplicableError: people with one photo.
        """
        people = PeopleCosines.of(signals, SIMILARITY)
        return people.per_photo(self._classifier.decision_function(statistics(people)))


def statistics(people: PeopleCosines) -> np.ndarray:
    """(P, 120): 24 statistics within each person, 96 between the person and all others.

    Within: mean, standard deviation, maximum and minimum of six vectors (cosines of photos to their centre, of pairs, and each
    photo's mean, deviation, maximum and minimum over the others).  Between: the same four of 24 vectors (centre to centres;
    centre to photos; photos to centres; photos to photos; each of the last three as it is, and by mean, deviation,
    maximum and minimum over one photo or over one other person).
    """
    require_photos(people.counts, 2, "similarities within a person need two or more")
    tables = _Tables(people)
    rows = [np.concatenate([_within(people, p), _between(people, tables, p)]) for p in range(len(people))]
    return np.stack(rows)


def _four(values: np.ndarray, axis: int | None = None) -> list[np.ndarray]:
    return [values.mean(axis), values.std(axis), values.max(axis), values.min(axis)]


def _summary(vectors: list[np.ndarray]) -> np.ndarray:
    return np.array([value for v in vectors for value in _four(v)], np.float64)


def _within(people: PeopleCosines, p: int) -> np.ndarray:
    own = people.cosines[people.photos(p), people.photos(p)]
    to_centre = own.sum(1) / _centre_length(own)
    pairs = own[np.triu_indices(len(own), 1)]
    others = own[~np.eye(len(own), dtype=bool)].reshape(len(own), -1)
    return _summary([to_centre, pairs, *_four(others, 1)])


def _centre_length(own: np.ndarray) -> float:
    """Length of the sum of a person's unit embeddings, from their cosines."""
    return float(np.sqrt(max(own.sum(), 1e-12)))


class _Tables:
    """Cosines of photos (N) and centres (P) to photos and centres, and their moments by person (P)."""

    def __init__(self, people: PeopleCosines) -> None:
        starts = people.start[:-1]
        lengths = np.array([_centre_length(people.cosines[people.photos(p), people.photos(p)]) for p in range(len(people))])
        sums = np.add.reduceat(people.cosines, starts, axis=0)
        self.centre_photo = sums / lengths[:, None]
        self.photo_centre = self.centre_photo.T
        self.centre_centre = np.add.reduceat(self.centre_photo, starts, axis=1) / lengths[None, :]
        self.by_person = [reduce(people.cosines, starts, axis=1) for reduce in (np.maximum.reduceat, np.minimum.reduceat)]
        self.sums = np.add.reduceat(people.cosines, starts, axis=1)
        self.squares = np.add.reduceat(people.cosines**2, starts, axis=1)


def _between(people: PeopleCosines, tables: _Tables, p: int) -> np.ndarray:
    mine, others = people.photos(p), np.arange(len(people)) != p
    elsewhere = np.ones(len(people.order), bool)
    elsewhere[mine] = False
    starts, counts = people.start[:-1], people.counts
    centre = tables.centre_photo[p]
    centre_by_person = _moments(
        np.add.reduceat(centre, starts), np.add.reduceat(centre**2, starts), counts,
        np.maximum.reduceat(centre, starts), np.minimum.reduceat(centre, starts),
    )  # fmt: skip
    to_centres = tables.photo_centre[mine][:, others]
    to_photos = people.cosines[mine][:, elsewhere]
    pairs_by_person = _moments(
        tables.sums[mine].sum(0), tables.squares[mine].sum(0), counts * counts[p],
        tables.by_person[0][mine].max(0), tables.by_person[1][mine].min(0),
    )  # fmt: skip
    return _summary([
        tables.centre_centre[p][others],
        centre[elsewhere], *(v[others] for v in centre_by_person),
        to_centres, *_four(to_centres, 1), *_four(to_centres, 0),
        to_photos, *_four(to_photos, 1), *(v[others] for v in pairs_by_person),
    ])  # fmt: skip


def _moments(
    sums: np.ndarray, squares: np.ndarray, counts: np.ndarray, highest: np.ndarray, lowest: np.ndarray
) -> list[np.ndarray]:
    mean = sums / counts
    return [mean, np.sqrt(np.maximum(squares / counts - mean**2, 0)), highest, lowest]
