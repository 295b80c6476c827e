from __future__ import annotations

import pytest
from pydantic import ValidationError

from benchmark.protocol.registry import build_attack
from benchmark.runtime.seeding import weights_digest
from defenses.early_stopping import EarlyStopping
from defenses.undefended import Undefended


@pytest.fixture
def undefended_epochs(make_trainer) -> list[tuple[str, str, float]]:
    """Digests of backbone and head, and the loss, after every epoch of the undefended run."""
    states = []
    trainer = make_trainer(
        Undefended(),
        progress=lambda line: states.append((weights_digest(trainer.backbone), weights_digest(trainer.head), line.loss)),
    )
    Undefended().fit(trainer)
    return states


@pytest.mark.parametrize(("share", "epochs"), [(0.25, 1), (0.5, 2), (0.7, 3), (1.0, 4)])
def test_it_is_a_prefix_of_the_undefended_run_to_the_last_bit(make_trainer, undefended_epochs, share, epochs):
    defense = EarlyStopping(share=share)
    trainer = make_trainer(defense)
    defense.fit(trainer)
    state = weights_digest(trainer.backbone), weights_digest(trainer.head), trainer.history[-1].loss
    assert state == undefended_epochs[epochs - 1]
    assert len(undefended_epochs) == 4
    assert trainer.epoch == trainer.provenance["stopped_after_epochs"] == epochs


def test_at_least_one_epoch(make_trainer):
    trainer = make_trainer(EarlyStopping(share=0.01))
    trainer.defense.fit(trainer)
    assert trainer.epoch == 1


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan"), "most"])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(ValidationError, match="share"):
        EarlyStopping(share=share)


def test_settings_round_trip_and_attacks_exist():
    defense = EarlyStopping(share=0.3)
    assert EarlyStopping(**defense.settings()) == defense
    assert [build_attack(spec).name for spec in defense.adaptive_attacks()] == ["bn_distance"]
