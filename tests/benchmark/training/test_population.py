"""The population of an entry: numbered halves, trained once, shared by what only transforms."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from tiny_world import FLOW, UNDEFENDED

from benchmark.data.populations import open_populations
from benchmark.interfaces import DefenseSpec
from benchmark.runtime.executor import Engine
from benchmark.training import population as module
from benchmark.training.population import Population


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("population")


@pytest.fixture
def population(flow, folder):
    return Population(flow.populations, folder)


@pytest.fixture
def trained(monkeypatch):
    """(seed, keys of the photos) of every training from here on."""
    calls = []
    make = module.make_submission

    def spy(populations, defense, photos, **kwargs):
        calls.append((kwargs["seed"], list(photos.keys)))
        return make(populations, defense, photos, **kwargs)

    monkeypatch.setattr(module, "make_submission", spy)
    return calls


def test_every_number_trains_once_on_its_own_half(population, trained, flow):
    recipes = population.recipes(UNDEFENDED)
    assert [r.number for r in recipes] == list(range(FLOW.population))
    assert population.missing(recipes) == recipes
    made = [population.submission(r) for r in recipes]
    assert population.missing(recipes) == []
    assert [population.submission(r).submission_id for r in recipes] == [s.submission_id for s in made]
    assert trained == [(n, list(flow.populations.numbered(n).seen.keys)) for n in range(FLOW.population)]
    assert [s.card.number for s in made] == [s.card.seed for s in made] == list(range(FLOW.population))
    assert len({s.submission_id for s in made}) == FLOW.population
    # number 0 is what `faceveil train` makes by default
    assert made[0].submission_id == flow.submission.submission_id


def test_a_cards_complete_settings_name_the_same_backbone(population):
    (short, *_), spec = population.recipes(DefenseSpec(name="bn_perturbation")), DefenseSpec(name="bn_perturbation")
    card = population.submission(short).card
    (complete, *_) = population.recipes(card.defenses[0], card.backbone)
    assert population.path(complete) == population.path(short) != population.path(population.recipes(UNDEFENDED)[0])
    assert spec.settings == {}


def test_post_hoc_defences_transform_the_undefended_population(population, monkeypatch):
    plain = [population.submission(r) for r in population.recipes(UNDEFENDED)]
    monkeypatch.setattr("benchmark.training.build.train_backbone", None)
    noisy = [population.submission(r) for r in population.recipes(DefenseSpec(name="bn_perturbation", settings={"rho": 0.3}))]
    bases = [s.card.training["base_submission"] for s in noisy]
    assert len(set(bases)) == FLOW.population
    assert bases == [s.card.training["base_submission"] for s in plain]
    assert [s.card.number for s in noisy] == [0, 1, 2]


def test_the_public_control_is_one_backbone(population, trained):
    recipes = population.recipes(DefenseSpec(name="public_only", settings={"epochs": 1}))
    assert len(recipes) == FLOW.population
    assert len(population.missing(recipes)) == 1
    assert len({population.submission(r).submission_id for r in recipes}) == 1
    assert len(trained) == 1


def test_trainings_run_as_tasks_elsewhere(flow, tmp_path):
    population = Population(flow.populations, tmp_path)
    recipes = population.recipes(DefenseSpec(name="augmentation"))[:2]
    tasks = pickle.loads(pickle.dumps(population.tasks(recipes)))
    Engine().run(tasks)
    assert population.missing(recipes) == []


def test_more_people_to_verify_on_train_nothing_again(population, flow):
    more = FLOW.model_copy(update={"roles": FLOW.roles.model_copy(update={"verification": 60})})
    other = Population(open_populations(more), population.folder)
    assert population.path(population.recipes(UNDEFENDED)[1]) == other.path(other.recipes(UNDEFENDED)[1])
    longer = FLOW.model_copy(update={"training": FLOW.training.model_copy(update={"epochs": 3})})
    assert population.path(population.recipes(UNDEFENDED)[1]) != Population(
        replace(flow.populations, track=longer), population.folder
    ).path(population.recipes(UNDEFENDED)[1])
    assert np.array_equal(other.populations.side, flow.populations.side)
