from __future__ import annotations

import numpy as np
import pytest

from attacks.shared.people import PeopleCosines, models, person_labels, require_people, require_photos
from benchmark.interfaces import NotApplicableError, Signals
from benchmark.signals.answers import Similarity

SIMILARITY = Similarity()


def signals() -> Signals:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((7, 4))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Signals({SIMILARITY.key: unit}, np.array([5, 2, 5, 9, 2, 5, 9]))


def test_photos_are_grouped_by_person_and_scores_go_back_in_order():
    people = PeopleCosines.of(signals(), SIMILARITY)
    assert len(people) == 3
    assert people.counts.tolist() == [2, 3, 2]
    assert people.per_photo(np.array([2.0, 5.0, 9.0])).tolist() == [5, 2, 5, 9, 2, 5, 9]
    unit = signals().values[SIMILARITY.key]
    own = people.order[people.photos(1)]
    np.testing.assert_allclose(people.cosines[people.photos(1), people.photos(1)], unit[own] @ unit[own].T)


def test_thinning_leaves_as_many_photos_of_each():
    thin = PeopleCosines.of(signals(), SIMILARITY).thinned(2, np.random.default_rng(0))
    assert thin.counts.tolist() == [2, 2, 2]


def test_models_are_told_apart():
    parts = Signals.concatenate([signals(), signals()])
    assert [r.tolist() for r in models(parts)] == [list(range(7)), list(range(7, 14))]


def test_labels_of_people():
    identity = signals().identity
    assert person_labels(identity, np.array([1, 0, 1, 1, 0, 1, 1])).tolist() == [0, 1, 1]
    with pytest.raises(NotApplicableError, match="differ in membership"):
        person_labels(identity, np.array([1, 0, 0, 1, 0, 1, 1]))


def test_too_little_is_said():
    with pytest.raises(NotApplicableError, match="1 of 2 people have fewer than 2 photos; why"):
        require_photos(np.array([1, 4]), 2, "why")
    with pytest.raises(NotApplicableError, match="3 members and 9 others"):
        require_people(np.array([1] * 3 + [0] * 9))


def test_similarity_access_sees_cosines_alone():
    from benchmark.interfaces import AccessError

    with pytest.raises(AccessError, match="cosines of pairs only"):
        signals()[SIMILARITY]
