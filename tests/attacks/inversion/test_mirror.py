from __future__ import annotations

import itertools

import pytest
import torch

from attacks.inversion.mirror import Mirror
from attacks.inversion.random_latents import RandomLatents
from attacks.shared.latents import PSpace, draw, from_p, to_p
from benchmark.interfaces import Access, NotApplicableError


def test_p_space_is_the_inverse_of_the_last_activation():
    w = torch.randn(5, 2, 8)
    torch.testing.assert_close(from_p(to_p(w)), w)
    torch.testing.assert_close(to_p(torch.tensor([-0.2, 3.0])), torch.tensor([-1.0, 3.0]))


def test_clipping_keeps_what_is_inside_and_moves_the_rest_to_the_edge(bench):
    gaussian = PSpace.of(bench.context())
    far = 10 * draw(bench.context(), 20)
    clipped = to_p(gaussian.clip(far, 1.0))
    assert ((clipped - gaussian.mean).abs() <= gaussian.std * (1 + 1e-4)).all()
    inside = from_p(gaussian.mean + 0.5 * gaussian.std).expand(1, 1, -1)
    torch.testing.assert_close(gaussian.clip(inside, 1.0), inside)


def test_a_wider_radius_reaches_further(bench):
    near, far = (bench.run(Mirror(radius=r, steps=50, pool=32)).trace[-1] for r in (0.3, 3.0))
    assert far < near


@pytest.mark.parametrize("search", ["gradient", "genetic"])
def test_beats_random_faces(bench, search):
    made = bench.run(Mirror(search=search, radius=2, steps=50, population=30, generations=15))
    assert bench.cosines(made.images).mean() > bench.cosines(bench.run(RandomLatents()).images).mean() + 0.3


def test_the_genetic_search_never_loses_its_best(bench):
    trace = bench.run(Mirror(search="genetic", population=16, generations=10)).trace
    assert all(later <= earlier + 1e-6 for earlier, later in itertools.pairwise(trace))


def test_the_genetic_search_sees_similarities_alone(bench):
    asked = []

    def counted(images, number):
        asked.append(len(images))
        return bench.similarity(images, number)

    made = bench.run(Mirror(search="genetic", population=10, generations=3), target=None, templates=None, similarity=counted)
    assert made.images.shape == (6, 3, 16, 16)
    assert sum(asked) == 6 * 10 * 3, "its budget: population times generations for each template"
    assert Mirror(search="genetic").required_access() == Access.SIMILARITY


def test_without_scores_the_genetic_search_is_not_applicable(bench):
    with pytest.raises(NotApplicableError, match="similarity"):
        bench.run(Mirror(search="genetic"), similarity=None)
