from __future__ import annotations

import numpy as np

from attacks.membership.view_consistency import REQUESTS, VIEWS, ViewConsistency
from benchmark import signals
from benchmark.interfaces import Signals
from benchmark.metrics import auc

PLANTED_AUC = 0.6  # measured on the overfitted world: 0.75, the weakest of them; 0.5 where nothing was seen


def signals_of(views: dict[str, np.ndarray]) -> Signals:
    return Signals({f"embedding.{name}": rows for name, rows in views.items()}, np.arange(len(views["identity"])))


def planted(rng: np.random.Generator, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Embeddings whose views of members differ less."""
    first = rng.standard_normal((len(labels), 16))
    spread = np.where(labels == 1, 0.2, 0.5)[:, None]
    return {v: first + (0 if v == "identity" else spread) * rng.standard_normal(first.shape) for v in VIEWS}


def test_every_view_exists():
    assert set(VIEWS) <= set(signals.VIEWS)
    assert [r.key for r in REQUESTS] == [f"embedding.{v}" for v in VIEWS]


def test_features_are_the_cosines_of_all_pairs_of_views():
    views = planted(np.random.default_rng(0), np.array([0, 1, 1]))
    found = ViewConsistency()._features(signals_of(views))
    expected = []
    for photo in range(3):
        cosines = []
        for i, a in enumerate(VIEWS):
            for b in VIEWS[:i]:
                x, y = views[a][photo], views[b][photo]
                cosines.append(float(x @ y) / float(np.sqrt(x @ x) * np.sqrt(y @ y)))
        expected.append(sorted(cosines))
    assert found.shape == (3, 10)
    np.testing.assert_allclose(np.sort(found, axis=1), expected, rtol=1e-9)


def test_finds_members_by_their_agreement_whatever_the_length():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300)
    attack = ViewConsistency()
    attack.fit(signals_of(planted(rng, labels)), labels)
    asked = rng.integers(0, 2, 300)
    views = planted(rng, asked)
    scores = attack.score(signals_of(views))
    assert auc(scores, asked) > 0.95
    longer = {name: rows * rng.uniform(0.1, 10, (300, 1)) for name, rows in views.items()}
    np.testing.assert_allclose(attack.score(signals_of(longer)), scores, rtol=1e-6)


def test_a_zero_embedding_is_finite():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 40)
    views = planted(rng, labels)
    for rows in views.values():
        rows[0] = 0
    attack = ViewConsistency()
    attack.fit(signals_of(views), labels)
    assert np.isfinite(attack.score(signals_of(views))).all()


def test_learns_the_direction_from_the_labels():
    rng = np.random.default_rng(3)
    labels, asked = rng.integers(0, 2, 400), rng.integers(0, 2, 400)
    attack = ViewConsistency()
    attack.fit(signals_of(planted(rng, labels)), 1 - labels)
    assert auc(attack.score(signals_of(planted(rng, asked))), asked) < 0.05
