from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from attacks.inversion.bn_guided import BNGuided
from attacks.shared.latents import PSpace, draw
from benchmark.interfaces import Goal, NotApplicableError

GOAL = Goal.TRAINING_IDENTITIES


def test_moves_until_the_guide_says_member(bench, bright):
    guide = bright(None)
    made = bench.run(BNGuided(steps=40, lr=0.1, coverage=0, prior=0, pool=1), GOAL, guide=bright)
    start = bench.generator.images(draw(bench.context(GOAL), 50).expand(-1, 2, -1))
    assert guide(made.images).mean() > guide(start).mean() + 3
    assert made.trace[-1] < made.trace[0]


def test_the_prior_keeps_latents_where_the_generator_draws_them(bench, bright):
    def brightness(prior):
        made = bench.run(BNGuided(steps=60, lr=0.2, coverage=0, prior=prior, pool=1), GOAL, guide=bright)
        return made.images.mean().item()

    assert brightness(0.0) > brightness(20.0)


def test_p_space_distance_is_one_for_random_latents(bench):
    context = bench.context(GOAL)
    gaussian = PSpace.of(context)
    random, far = draw(context, 200), 5 * draw(context, 200)
    assert gaussian.distance(random).mean().item() == pytest.approx(1, abs=0.15)
    assert gaussian.distance(far).mean() > 4


def test_coverage_keeps_the_images_apart(bench, bright):
    def likeness(coverage):
        made = bench.run(BNGuided(steps=40, lr=0.1, prior=0, coverage=coverage, apart=0.0, pool=2), GOAL, guide=bright)
        unit = F.normalize(bench.target.features(made.images))
        return (unit @ unit.T)[~torch.eye(len(unit), dtype=torch.bool)].mean().item()

    assert likeness(5.0) < likeness(0.0) - 0.05


def test_starts_are_likely_members_and_different(bench, bright):
    attack = BNGuided(pool=8)
    context = bench.context(GOAL, guide=bright)

    def objective(images, _number):
        return F.softplus(-bright(None)(images))

    starts = attack._starts(context, objective)
    assert starts.shape == (6, 1, 24)
    assert len(torch.unique(starts.flatten(1), dim=0)) == 6


def test_without_a_guide_it_is_not_applicable(bench):
    with pytest.raises(NotApplicableError, match="weights"):
        bench.run(BNGuided(steps=1), GOAL, guide=None)
