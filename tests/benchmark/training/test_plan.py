"""Trainings of several entries as one graph: none twice, and those that share one in turn."""

from __future__ import annotations

import pytest
from tiny_world import FLOW

from benchmark.data.populations import open_populations
from benchmark.interfaces import DefenseSpec
from benchmark.runtime.graph import Graph
from benchmark.training.plan import DrawPhotos, TrainingPlan
from benchmark.training.population import Population
from benchmark.training.shadows import ShadowPool

UNDEFENDED = DefenseSpec(name="undefended")
NOISE = DefenseSpec(name="bn_perturbation", settings={"rho": 0.5})
EARLY = DefenseSpec(name="early_stopping", settings={"share": 0.5})


@pytest.fixture
def blank(tmp_path) -> Population:
    """Whose photos are not drawn yet."""
    return Population(open_populations(FLOW, None, tmp_path / "photos"), tmp_path / "populations")


@pytest.fixture
def population(blank) -> Population:
    blank.populations.queried.draw()
    blank.populations.public.draw()
    return blank


def planned(population: Population, *defenses: DefenseSpec) -> TrainingPlan:
    plan = TrainingPlan()
    for defense in defenses:
        plan.add_population(population, population.recipes(defense))
    return plan


def test_a_transform_waits_for_the_training_that_it_shares_and_nothing_else_does(population):
    plan = planned(population, UNDEFENDED, NOISE, EARLY)
    k = FLOW.population
    nodes = plan.nodes
    assert len(nodes) == 3 * k
    for number in range(k):
        assert nodes[number].needs == nodes[2 * k + number].needs == ()
        assert nodes[k + number].needs == (nodes[number].key,)
    assert [node.kind.split()[0] for node in nodes] == ["train"] * k + ["transform"] * k + ["train"] * k
    assert nodes[k].guess < nodes[0].guess / 10, "it is not estimated as a training"
    Graph(nodes)  # can run


def test_photos_are_drawn_once_and_before_what_is_trained_on_them(blank):
    first, *trainings = planned(blank, UNDEFENDED, EARLY).nodes
    assert isinstance(first.task, DrawPhotos)
    assert len(trainings) == 2 * FLOW.population
    assert all(first.key in node.needs for node in trainings)
    first.task()
    assert len(planned(blank, UNDEFENDED).nodes) == FLOW.population


def test_transforms_alone_wait_for_one_another(population):
    other = DefenseSpec(name="bn_perturbation", settings={"rho": 0.1})
    nodes = planned(population, NOISE, other).nodes
    k = FLOW.population
    assert [node.needs for node in nodes[:k]] == [()] * k
    assert [node.needs for node in nodes[k:]] == [(node.key,) for node in nodes[:k]]


def test_backbones_that_never_see_a_member_are_one_and_named_twice_is_trained_once(population):
    plan = planned(population, DefenseSpec(name="public_only"), DefenseSpec(name="public_only"))
    assert len(plan.nodes) == 1


def test_what_is_on_disk_is_cached(population, tmp_path):
    plan = planned(population, UNDEFENDED)
    assert len(plan.missing) == FLOW.population
    first = plan.nodes[0]
    first.task()
    again = planned(population, UNDEFENDED)
    assert [node.cached for node in again.nodes] == [True] + [False] * (FLOW.population - 1)


def test_shadows_of_the_attacker_have_trainings_of_their_own(population, tmp_path):
    plan = planned(population, UNDEFENDED, NOISE)
    pool = ShadowPool(population.populations, tmp_path / "shadows")
    before = {node.key for node in plan.nodes}
    for defense in (UNDEFENDED, NOISE):
        plan.add_shadows(pool, pool.recipes(defense, FLOW.backbone))
    shadows = [node for node in plan.nodes if node.key not in before]
    assert len(shadows) == 2 * FLOW.shadows.auxiliary
    assert shadows[-1].needs == (shadows[FLOW.shadows.auxiliary - 1].key,)
