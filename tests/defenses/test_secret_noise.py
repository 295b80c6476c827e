"""Noise of a defence is drawn from the evaluator's secret: whoever knows the card, seed and all, cannot draw it again.

Every defence that draws random numbers is in one of the classes below, and each class has its test.
"""

from __future__ import annotations

import copy
import inspect
import re
import sys
from dataclasses import replace

import pytest

from benchmark.interfaces import Defense
from benchmark.protocol import registry
from benchmark.runtime.seeding import weights_digest
from defenses.dp_sgd import DPSGD
from defenses.dp_user import DPUser

DRAWS = re.compile(r"Generator\(|default_rng|randn|torch\.normal|derived_seed|noise_seed|seeded\(")
RELEASE = {"bn_perturbation", "bn_gaussian_mechanism"}  # noise on released weights
TRAINING = {"dp_sgd", "dp_user"}  # noise on every gradient
# What these draw protects nothing by being unknown: batches, views and splits of a training, layers made anew, probes that
# only compare two networks.  Subtracting it is not defined: it is not added to anything that is released.
NO_NOISE = {"augmentation", "adversarial_regularisation", "selena", "unlearning", "bn_folding", "distillation", "vib"}
PRIVATE = [
    DPSGD(noise_multiplier=1.0, batch_size=4, epochs=1, lr=1.0),
    DPUser(noise_multiplier=1.0, users=2, rounds=2, lr=1.0),
]


def drawing(defense: type[Defense]) -> bool:
    """Whether a defence's own module, or the base of the private ones, draws random numbers."""
    own = [base for base in defense.__mro__ if base.__module__.startswith("defenses.")]
    return any(DRAWS.search(inspect.getsource(sys.modules[base.__module__])) for base in own) or defense.family == "dp"


def test_every_defence_that_draws_is_in_a_class() -> None:
    found = {name for name, defense in registry.defenses().items() if drawing(defense)}
    assert found == RELEASE | TRAINING | NO_NOISE
    assert {name for name, defense in registry.defenses().items() if defense.draws_noise} == RELEASE


@pytest.mark.parametrize("name", sorted(RELEASE))
def test_noise_of_a_release_follows_from_the_secret_alone(trained, context, name: str) -> None:
    def released(seed: int, noise: int) -> str:
        defense = registry.defenses()[name]()
        return weights_digest(defense.release(copy.deepcopy(trained), replace(context(seed), noise=noise)))

    first = released(3, noise=11)
    assert released(3, noise=11) == first
    assert released(4, noise=11) == first, "nothing of it follows from the seed on the card"
    assert released(3, noise=12) != first


@pytest.mark.parametrize("defense", PRIVATE, ids=lambda d: d.name)
def test_noise_of_a_training_follows_from_the_secret(make_trainer, defense, tmp_path, monkeypatch) -> None:
    def trained(secret: str) -> str:
        monkeypatch.setenv("FACEVEIL_NOISE_SECRET", str(tmp_path / secret))
        trainer = make_trainer(defense)
        defense.fit(trainer)
        return weights_digest(trainer.backbone)

    first = trained("one")
    assert trained("one") == first, "an installation repeats its own trainings"
    assert trained("other") != first, "with card, seed and photos in hand the weights cannot be made again"
