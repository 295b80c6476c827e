from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from attacks.shared import centres
from attacks.shared.centres import gallery, log_sum, person_sums, regrow, regrow_weighted, unit, weigh
from benchmark.interfaces import NotApplicableError, Signals
from benchmark.metrics.roc import auc
from benchmark.signals.answers import Embedding

EMBEDDING = Embedding()


def normalised(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(v * v for v in vector))
    return [v / length for v in vector]


def naive(rows: list[list[float]], people: list[int], scale: float, weights: list[float]) -> list[float]:
    """Log-odds by their definition, photo by photo: the own centre leaves the photo out, other centres are whole."""
    found = []
    for photo, row in enumerate(rows):
        logits = {}
        for person in set(people):
            voters = [i for i in range(len(rows)) if people[i] == person and i != photo]
            centre = normalised([sum(weights[i] * rows[i][d] for i in voters) for d in range(len(row))])
            logits[person] = scale * sum(a * b for a, b in zip(row, centre, strict=True))
        own = logits.pop(people[photo])
        found.append(own - math.log(sum(math.exp(v) for v in logits.values()) / len(logits)))
    return found


@pytest.mark.parametrize("scale", [1.0, 32.0])
def test_log_odds_under_leave_one_out_centres(scale):
    rng = np.random.default_rng(0)
    people = np.array([2, 0, 0, 1, 2, 2, 1, 0, 1, 1])  # unsorted, different numbers of photos
    embeddings = unit(rng.standard_normal((10, 5)))
    weights = rng.uniform(0.1, 1, 10)
    for w in (None, weights):
        expected = naive(embeddings.tolist(), people.tolist(), scale, (np.ones(10) if w is None else w).tolist())
        np.testing.assert_allclose(regrow(embeddings, people, scale, w).log_odds, expected, rtol=1e-9)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    people, embeddings = np.repeat(np.arange(20), 3), unit(rng.standard_normal((60, 8)))
    whole = regrow(embeddings, people, 32.0).log_odds
    monkeypatch.setattr(centres, "BLOCK", 7)
    np.testing.assert_allclose(regrow(embeddings, people, 32.0).log_odds, whole, rtol=1e-12)


def test_a_photo_does_not_vote_for_itself():
    """Embeddings without any person in them: were a photo part of its own centre, every photo would look like its person's."""
    rng = np.random.default_rng(2)
    people, embeddings = np.repeat(np.arange(200), 2), unit(rng.standard_normal((400, 64)))
    assert abs(regrow(embeddings, people, 1.0).own.mean()) < 0.05


def test_weights_are_a_softmax_within_each_person():
    found = weigh(np.array([0.0, 10.0, 5.0, 5.0]), np.array([0, 0, 1, 1]), 0.2)
    np.testing.assert_allclose(found, [math.exp(-2), 1, 1, 1])


def test_weighing_finds_the_photos_that_lie_together():
    rng = np.random.default_rng(3)
    people, seen = np.repeat(np.arange(80), 6), np.tile([True] * 3 + [False] * 3, 80)
    near = unit(rng.standard_normal((80, 32)))
    embeddings = unit(near[people] + np.where(seen, 0.4, 0.9)[:, None] * unit(rng.standard_normal((480, 32))))
    plain = auc(regrow(embeddings, people, 32.0).log_odds, seen)
    weighted = auc(regrow_weighted(embeddings, people, 32.0).log_odds, seen)
    assert weighted > plain > 0.9


def test_one_photo_of_a_person_is_not_applicable():
    with pytest.raises(NotApplicableError, match="1 of 3 people have one photo only"):
        gallery(Signals({EMBEDDING.key: np.eye(5)}, np.array([0, 0, 1, 2, 2])), EMBEDDING)


def test_unit_keeps_zero_rows():
    rows = unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0]])


def test_what_is_held_does_not_grow_with_photos_times_people(monkeypatch):
    """Logits to other people's centres are made for fewer photos at once the more people there are."""
    shapes = []
    monkeypatch.setattr(centres, "LOGITS", 600)
    monkeypatch.setattr(centres, "log_sum", lambda logits: shapes.append(logits.shape) or log_sum(logits))
    rng = np.random.default_rng(4)
    people, embeddings = np.repeat(np.arange(50), 2), unit(rng.standard_normal((100, 8)))
    found = regrow(embeddings, people, 32.0).log_odds
    assert shapes == [(12, 50)] * 8 + [(4, 50)]
    np.testing.assert_allclose(found, naive(embeddings.tolist(), people.tolist(), 32.0, [1.0] * 100), rtol=1e-9)


def test_log_sum_is_scipy_s_also_where_rows_are_empty_or_far_from_nought():
    logits = 900 * np.random.default_rng(5).standard_normal((40, 7))
    logits[3, 2:] = logits[4] = -np.inf
    np.testing.assert_allclose(log_sum(logits.copy()), logsumexp(logits, axis=1), rtol=1e-14)


def test_sums_of_people_are_those_row_by_row(monkeypatch):
    monkeypatch.setattr(centres, "BLOCK", 16)  # several blocks
    rng = np.random.default_rng(6)
    person = np.concatenate([np.arange(9), rng.integers(0, 9, 91)])
    vectors, weights = rng.standard_normal((100, 5)), rng.random(100)
    for weight in (None, weights):
        expected = np.zeros((9, 5))
        np.add.at(expected, person, vectors if weight is None else vectors * weight[:, None])
        np.testing.assert_allclose(person_sums(vectors, person, weight), expected, rtol=1e-12)
