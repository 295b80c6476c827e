from __future__ import annotations

import numpy as np
import pytest

from attacks.membership.compactness import Compactness, distances
from benchmark.evaluation.membership.summary import run_attack
from benchmark.interfaces import AttackSpec, Contrast, NotApplicableError, Signals


def people(count: int, spread: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.repeat(rng.standard_normal((count, 8)) * 3, 4, axis=0) + spread * rng.standard_normal((count * 4, 8))


def test_distances_by_their_definition():
    rows = np.array([[0.0, 0.0], [2.0, 0.0], [10.0, 0.0], [10.0, 4.0]])
    found, person = distances(Signals({"embedding.identity": rows}, np.array([3, 3, 8, 8])))
    assert person.tolist() == [0, 0, 1, 1]
    gap = np.hypot(9, 2)
    np.testing.assert_allclose(np.exp(found[0]), [2, 2, 2, gap, gap, 1], rtol=1e-6)
    np.testing.assert_allclose(np.exp(found[1]), [4, 4, 4, gap, gap, np.hypot(10, 2)], rtol=1e-6)


def test_compact_people_pass_for_members():
    near, far = people(30, 0.3, 0), people(30, 1.0, 1)
    signals = Signals({"embedding.identity": np.vstack([near, far])}, np.repeat(np.arange(60), 4))
    labels = np.repeat([1, 0], 120)
    attack = Compactness()
    attack.fit(signals, labels)
    score = attack.score(signals)
    assert score[:120].min() > score[120:].max()
    assert len(np.unique(score)) == 60, "one score a person"


def test_photos_of_one_person_cannot_differ():
    signals = Signals({"embedding.identity": people(20, 0.3, 0)}, np.repeat(np.arange(20), 4))
    with pytest.raises(NotApplicableError, match="differ in membership"):
        Compactness().fit(signals, np.tile([1, 0, 1, 0], 20))


def test_a_single_photo_is_not_enough():
    with pytest.raises(NotApplicableError, match="fewer than 2 photos"):
        distances(Signals({"embedding.identity": np.eye(3)}, np.array([0, 0, 1])))


def test_speaks_of_people_only(tiny):
    spec = AttackSpec(name="compactness")
    result, _ = run_attack(spec, tiny.evidence([spec]), adaptive=False, blind={}, seed=0)
    assert set(result.contrasts) == {Contrast.IDENTITY, Contrast.PAPER}
