"""FACE-AUDITOR: probes a system with few-shot tasks, and compares what it finds similar with what looks similar."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attacks.shared.people import PeopleAttack, PeopleCosines, models, person_labels, require_people, require_photos
from attacks.shared.small_networks import fit_quietly, log_odds, network
from benchmark.interfaces import Access, NotApplicableError, Reference, SignalRequest, Signals
from benchmark.signals.answers import Similarity
from benchmark.signals.pixels import Pixels

SIMILARITY = Similarity()
PIXELS = Pixels()


class FaceAuditor(PeopleAttack):
    """Sorted similarities of a query photo to the support photos of few-shot tasks, beside those of the pictures themselves.

    A task holds ``shots`` photos each of the person and of ``ways`` - 1 others; the query is another photo of the person.
    Similarities to the own support and to the others', each sorted, are averaged over ``tasks``; the same of the pictures
    (cosines of grey thumbnails) is the reference.  Where people have fewer photos, there are fewer shots.  One score a
    person, see :mod:`attacks.shared.people`.
    """

    name: ClassVar[str] = "face_auditor"
    title: ClassVar[str] = "FACE-AUDITOR"
    summary: ClassVar[str] = "Similarities within few-shot probes of a person, beside those of the pictures themselves."
    reference: ClassVar[Reference] = Reference(
        title="FACE-AUDITOR: Data Auditing in Facial Recognition Systems", where="USENIX Security 2023", arxiv="2304.02782"
    )
    access: ClassVar[Access] = Access.SIMILARITY

    classifier: Literal["forest", "network"] = "forest"
    ways: int = Field(5, ge=2)
    shots: int = Field(5, ge=1)
    tasks: int = Field(100, ge=1)

    _classifier: Any = PrivateAttr()
    _shots: int = PrivateAttr()

    def requests(self) -> tuple[SignalRequest, ...]:
        return (SIMILARITY, PIXELS)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        """Learns from people.

        Raises:
            NotApplicableError: people with one photo, too few people, or photos of one person that differ in membership.
        """
        parts = [signals.take(rows) for rows in models(signals)]
        people = [PeopleCosines.of(part, SIMILARITY, PIXELS) for part in parts]
        rows = [person_labels(signals.identity[r], labels[r]) for r in models(signals)]
        require_people(np.concatenate(rows))
        for p in people:
            require_photos(p.counts, 2, "a probe needs a query photo and another one in support")
        self._shots = min(self.shots, *(int(p.counts.min()) - 1 for p in people))
        features = [self._probes(part, p) for part, p in zip(parts, people, strict=True)]
        if self.classifier == "forest":
            forest = RandomForestClassifier(200, min_samples_leaf=3, random_state=0)
            self._classifier = make_pipeline(StandardScaler(), forest)
        else:
            self._classifier = network((64,), decay=1.0)
        fit_quietly(self._classifier, np.concatenate(features), np.concatenate(rows))

    def score(self, signals: Signals) -> np.ndarray:
        """(N,) the person's score at each photo.

        Raises:
            NotApplicableError: people with fewer photos than were learned from, or fewer people than a task holds.
        """
        people = PeopleCosines.of(signals, SIMILARITY, PIXELS)
        require_photos(people.counts, self._shots + 1, f"probes of {self._shots} shots were learned from")
        features = self._probes(signals, people)
        return people.per_photo(log_odds(self._classifier, features))

    def _probes(self, signals: Signals, people: PeopleCosines) -> np.ndarray:
        """(P, 3 x ways x shots): similarities, those of the pictures, and by how much the first exceed the second."""
        if len(people) < self.ways:
            raise NotApplicableError(f"{len(people)} people are fewer than the {self.ways} of a task.")
        pixels = np.asarray(signals[PIXELS], np.float64)[people.order]
        pictures = pixels @ pixels.T
        rows = []
        for person in range(len(people)):
            query, support = self._tasks(people, person)
            found = [_sorted(table[query[:, None], support], self._shots) for table in (people.cosines, pictures)]
            rows.append(np.concatenate([*found, found[0] - found[1]]))
        return np.stack(rows)

    def _tasks(self, people: PeopleCosines, person: int) -> tuple[np.ndarray, np.ndarray]:
        """Query photos (tasks,) and support photos (tasks, ways x shots), the person's own first."""
        rng = np.random.default_rng([person, len(people)])
        own = people.start[person] + _draws(rng, np.full((self.tasks, 1), people.counts[person]), self._shots + 1)[:, 0]
        others = _draws(rng, np.full((self.tasks, 1), len(people) - 1), self.ways - 1)[:, 0]
        others += others >= person
        theirs = people.start[others][..., None] + _draws(rng, people.counts[others], self._shots)
        return own[:, 0], np.concatenate([own[:, 1:], theirs.reshape(self.tasks, -1)], axis=1)


def _draws(rng: np.random.Generator, counts: np.ndarray, wanted: int) -> np.ndarray:
    """(..., wanted) different numbers below each of ``counts`` (...)."""
    keys = rng.random((*counts.shape, int(counts.max())))
    keys[np.arange(keys.shape[-1]) >= counts[..., None]] = np.inf
    return np.argsort(keys, axis=-1)[..., :wanted]


def _sorted(similarities: np.ndarray, shots: int) -> np.ndarray:
    """Means over tasks (ways x shots,) of the sorted similarities to the own support, then to the others'."""
    own, others = np.sort(similarities[:, :shots], axis=1), np.sort(similarities[:, shots:], axis=1)
    return np.concatenate([own.mean(0), others.mean(0)])
