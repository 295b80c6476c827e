from __future__ import annotations

import itertools

import pytest
import torch

from attacks.inversion.black_box_template import BlackBoxTemplate, Strategy
from attacks.inversion.random_latents import RandomLatents
from attacks.shared.latents import PSpace
from benchmark.interfaces import NotApplicableError


def test_beats_random_faces_by_scores_alone(bench):
    made = bench.run(BlackBoxTemplate(queries=600, pool=60), target=None, templates=None)
    assert bench.cosines(made.images).mean() > bench.cosines(bench.run(RandomLatents()).images).mean() + 0.4


@pytest.mark.parametrize("queries", [50, 333])
def test_never_asks_more_than_its_budget(bench, queries):
    asked = torch.zeros(6, dtype=torch.long)

    def counted(images, number):
        asked.index_add_(0, number, torch.ones_like(number))
        return bench.similarity(images, number)

    bench.run(BlackBoxTemplate(queries=queries), target=None, templates=None, similarity=counted)
    assert (asked <= queries).all()
    assert (asked > queries - 20).all()
    assert len(set(asked.tolist())) == 1


def test_the_best_score_never_falls(bench):
    trace = bench.run(BlackBoxTemplate(queries=200)).trace
    assert all(later <= earlier for earlier, later in itertools.pairwise(trace))


def test_the_strategy_finds_the_top_of_a_stretched_bowl():
    """An axis-parallel quadratic with axes of very different length: what the diagonal covariance is for."""
    torch.manual_seed(0)
    size, goal, stretch = 10, torch.full((10,), 1.5), torch.logspace(0, 2, 10)
    gaussian = PSpace(torch.zeros(size), torch.ones(size))

    def score(points):
        return -((points - goal).square() * stretch).sum(-1)

    pool = torch.randn(20, size)
    state = Strategy.start(gaussian, pool, score(pool).expand(3, -1), 0.5, 12)
    first = state.best_score.clone()
    for _ in range(300):
        asked = state.ask()
        state.tell(asked, score(asked))
    assert (state.best_score > first / 1000).all()
    assert (state.best - goal).abs().max() < 0.1


def test_without_scores_it_is_not_applicable(bench):
    with pytest.raises(NotApplicableError, match="similarity"):
        bench.run(BlackBoxTemplate(), similarity=None)
