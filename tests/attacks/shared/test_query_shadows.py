from __future__ import annotations

import numpy as np

from attacks.shared.query_shadows import inside_of, of_people, scores_of, spread_over_people
from benchmark.interfaces import QueryShadow, Signals
from benchmark.signals.answers import Embedding

EMBEDDING = Embedding()


def shadow(rows, identity, inside, values=None) -> QueryShadow:
    """A shadow of some photos of its own; ``rows`` says where the target's photos stand among them."""
    values = np.arange(len(identity), dtype=float) if values is None else np.asarray(values, float)
    return QueryShadow(Signals({EMBEDDING.key: values[:, None]}, np.asarray(identity)), np.asarray(inside), np.asarray(rows))


def first(signals: Signals) -> np.ndarray:
    return signals[EMBEDDING][:, 0]


def test_values_of_a_shadow_s_own_photos_are_laid_beside_the_target_s():
    own = shadow(rows=[2, -1, 0], identity=[7, 7, 8, 8], inside=[True, False, False, True], values=[10, 11, 12, 13])
    np.testing.assert_array_equal(scores_of([own], "first", first), [[12.0, np.nan, 10.0]])
    assert inside_of([own]).tolist() == [[False, False, True]]
    assert own.usable.tolist() == [True, False, True]


def test_photos_of_which_a_shadow_says_nothing_are_outside_whatever_stands_first():
    """Row -1 must not be read as the last, nor as the first, of the shadow's own photos."""
    own = shadow(rows=[-1, -1], identity=[1, 2], inside=[True, True])
    assert np.isnan(scores_of([own], "first", first)).all()
    assert not inside_of([own]).any()


def test_what_was_computed_of_a_shadow_is_computed_once_for_all_targets():
    calls = []

    def counted(signals: Signals) -> np.ndarray:
        calls.append(1)
        return first(signals)

    own = shadow(rows=[0, 1], identity=[1, 1], inside=[True, False])
    again = QueryShadow(own.signals, own.inside, np.array([1, -1]))  # beside another target
    scores_of([own], "counted", counted)
    scores_of([again], "counted", counted)
    assert len(calls) == 1
    scores_of([own], "another", counted)
    assert len(calls) == 2
    scores_of([QueryShadow(own.signals.take(np.array([0, 1])), own.inside, own.rows)], "counted", counted)
    assert len(calls) == 3, "other photos are other signals"


def test_whole_people_are_told_from_photos():
    people = shadow(rows=[0, 1, 2, 3], identity=[1, 1, 2, 2], inside=[True, True, False, False])
    photos = shadow(rows=[0, 1, 2, 3], identity=[1, 1, 2, 2], inside=[True, False, True, False])
    assert of_people([people])
    assert not of_people([people, photos])


def test_a_value_of_a_person_is_given_to_all_of_the_person_s_photos():
    values = np.array([[0.5, np.nan, np.nan, np.nan], [np.nan, 0.7, 0.1, 0.1]])
    spread = spread_over_people(values, np.array([4, 4, 9, 9]))
    np.testing.assert_allclose(spread, [[0.5, 0.5, np.nan, np.nan], [0.7, 0.7, 0.1, 0.1]])
