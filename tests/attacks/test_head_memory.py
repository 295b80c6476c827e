from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from attacks import head_memory as module
from attacks.head_memory import VIEWS, choose, head_memory
from benchmark.interfaces import FaceVeilError, Signals
from benchmark.protocol.track import TrainingConfig

CONFIG = TrainingConfig(epochs=6, lr=0.01, batch_size=32)


class Faces:
    """People whose embeddings are known; ``take`` is what the measurement asks of photos."""

    def __init__(self, identity):
        self.identity = identity

    def take(self, rows):
        return Faces(self.identity[rows])


@pytest.fixture
def embedded(monkeypatch):
    """A frozen backbone: embeddings that depend on the photos alone."""

    def extract(_target, photos, requests):
        rng = np.random.default_rng(0)
        person = np.unique(photos.identity, return_inverse=True)[1]
        photo = rng.normal(size=(person.max() + 1, 32))[person] + 0.8 * rng.normal(size=(len(person), 32))
        flipped = photo + 0.3 * rng.normal(size=photo.shape)
        return Signals(dict(zip((r.key for r in requests), (photo, flipped), strict=True)), photos.identity)

    monkeypatch.setattr(module, "extract", extract)
    return Faces(np.repeat(np.arange(90), 5))


def test_a_head_remembers_what_the_backbone_does_not(embedded):
    found = head_memory(SimpleNamespace(), embedded, people=60, each=4, heads=6, config=CONFIG, seed=0)
    print("head", found.plain.value, "LiRA", found.lira.value, "regrown", found.regrown.value)
    assert found.plain.low > 0.7
    assert found.lira.value > found.plain.value
    assert found.regrown.low < 0.5 < found.regrown.high
    assert (found.people, found.photos, found.heads) == (60, 4, 6)
    again = head_memory(SimpleNamespace(), embedded, people=60, each=4, heads=6, config=CONFIG, seed=0)
    assert again == found


def test_people_are_drawn_with_enough_photos():
    identity = np.array([0, 0, 1, 1, 1, 2, 2, 2, 3])
    rows = choose(identity, 2, 3, 0)
    assert sorted(identity[rows].tolist()) == [1, 1, 1, 2, 2, 2]
    with pytest.raises(FaceVeilError, match="2 have that many"):
        choose(identity, 3, 3, 0)


def test_too_few_heads_are_refused(embedded):
    with pytest.raises(FaceVeilError, match="three heads"):
        head_memory(SimpleNamespace(), embedded, people=60, each=4, heads=2, config=CONFIG, seed=0)
    assert len(VIEWS) == 2
