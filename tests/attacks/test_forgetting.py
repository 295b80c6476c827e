from __future__ import annotations

import numpy as np
import pytest

from attacks.forgetting import FORGOTTEN, NOTHING_DONE, RETRAINED_SEED, Study, told_apart
from benchmark.interfaces import FaceVeilError


def scores(rng, backbones: int, people: int, shift: float) -> np.ndarray:
    ease = np.random.default_rng(9).normal(0, 2, people * 4)
    return ease + shift + rng.normal(size=(backbones, people * 4))


def test_the_same_distribution_is_forgetting_and_a_trace_is_not():
    rng, person = np.random.default_rng(0), np.repeat(np.arange(120), 4)
    same = told_apart(scores(rng, 6, 120, 0.0), scores(rng, 6, 120, 0.0), person, 0)
    print("same", same.low, same.value, same.high)
    assert same.low < 0.5 < same.high
    assert abs(same.value - 0.5) < 0.03
    trace = told_apart(scores(rng, 6, 120, 1.0), scores(rng, 6, 120, 0.0), person, 0)
    assert trace.low > FORGOTTEN[1]


def test_more_lost_than_never_learned_is_found_as_well():
    """A score *below* that of a backbone that never saw the person gives the unlearning away."""
    rng, person = np.random.default_rng(1), np.repeat(np.arange(120), 4)
    assert told_apart(scores(rng, 4, 120, -1.5), scores(rng, 4, 120, 0.0), person, 0).low > 0.6


def test_one_backbone_tells_nothing():
    with pytest.raises(FaceVeilError, match="at least two"):
        told_apart(np.zeros((1, 4)), np.zeros((3, 4)), np.arange(4), 0)


@pytest.mark.slow
def test_a_study_trains_what_it_needs_and_judges(tiny, tmp_path):
    study = Study(tiny.populations, tmp_path, backbones=2)
    found = study.run(["random_labels"], [0.2])
    assert [row.method for row in found.rows] == [NOTHING_DONE, "random_labels"]
    assert found.rows[0].auc.value > 0.6, "there was something to forget"
    assert all(0 <= row.utility <= 1 for row in found.rows)
    made = {p.name for p in (tmp_path / "submissions").iterdir()}
    assert len(made) == 6, "two trained with everybody, two unlearned, two re-trained"
    steps: list[str] = []
    again = Study(tiny.populations, tmp_path, backbones=2, step=steps.append).run(["random_labels"], [0.2])
    assert again == found
    assert steps == [], "nothing is trained twice"
    assert RETRAINED_SEED > 100
