from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from photo_arrays import target_of

from attacks.inversion.linear_adapter import LinearAdapter
from attacks.inversion.random_latents import RandomLatents
from benchmark.interfaces import Access, AccessError, NotApplicableError

SETTINGS = {"steps": 60, "pool": 64, "average": 5, "space": "w", "photos": 100}


def turned(bench, width=24):
    """An encoder of the attacker's own, whose embeddings are those of the target under a rotation."""
    turn = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(3)))[0]
    net = bench.target.with_access(Access.WEIGHTS)
    return lambda: lambda images: F.normalize(net.features(images)) @ turn


def test_templates_are_rebuilt_in_an_encoder_of_the_attackers_own(bench):
    made = bench.run(LinearAdapter(**SETTINGS), surrogate=turned(bench))
    blind = bench.run(RandomLatents())
    assert bench.cosines(made.images).mean() > 0.8
    assert bench.cosines(made.images).min() > bench.cosines(blind.images).mean()
    assert "mapped by 100 public photos" in made.notes[0]
    assert made.trace[-1] < made.trace[0]


def test_an_encoder_that_takes_blue_first_is_fed_so(bench):
    """Both ways: the attacker's own, and the attacked one, whose card alone says in which order its channels stand."""
    swapped = copy.deepcopy(bench.target.with_access(Access.WEIGHTS).backbone)
    swapped[0].weight.copy_(swapped[0].weight.flip(1))
    blue_first, mistaken = (target_of(swapped, size=bench.photos.images.shape[-1], order=order) for order in ("BGR", "RGB"))
    images = bench.photos.images[:8].float() / 255
    right = bench.target.features(images)
    torch.testing.assert_close(blue_first.features(images), right)
    assert F.cosine_similarity(mistaken.features(images), right).mean() < 0.9
    own = bench.run(LinearAdapter(**SETTINGS), surrogate=lambda: blue_first.features)
    assert bench.cosines(own.images).mean() > 0.8
    attacked = bench.run(LinearAdapter(**SETTINGS), surrogate=turned(bench), target=blue_first)
    assert bench.cosines(attacked.images).mean() > 0.8


def test_an_encoder_that_sees_nothing_of_faces_leaks_nothing(bench):
    def unrelated():
        weight = torch.randn(3 * 4, 8, generator=torch.Generator().manual_seed(0))
        return lambda images: F.adaptive_avg_pool2d(torch.cos(977 * images), 2).flatten(1) @ weight

    made = bench.run(LinearAdapter(**SETTINGS), surrogate=unrelated)
    planted = bench.run(LinearAdapter(**SETTINGS), surrogate=turned(bench))
    assert bench.cosines(made.images).mean() < bench.cosines(planted.images).mean() - 0.2


def test_it_asks_the_system_for_embeddings_alone(bench):
    seen = []

    class Deployed:
        def embed(self, images):
            seen.append(len(images))
            return bench.target.with_access(Access.EMBEDDING).embed(images)

        def features(self, images):
            raise AccessError("no weights")

    bench.run(LinearAdapter(**SETTINGS), surrogate=turned(bench), target=Deployed())
    assert sum(seen) == 100


def test_what_it_lacks_is_named(bench):
    with pytest.raises(NotApplicableError, match="no encoder of their own"):
        bench.run(LinearAdapter())
