"""The control that leaves the private photos alone."""

from __future__ import annotations

import pytest
import torch
from tiny_world import FLOW

from benchmark.data.populations import open_populations
from benchmark.interfaces import DefenseSpec, FaceVeilError
from benchmark.protocol.track import TrainingConfig
from benchmark.training.build import make_submission
from benchmark.training.composition import compose

PUBLIC_ONLY = DefenseSpec(name="public_only", settings={"epochs": 2})


def same(one, other) -> bool:
    return all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())


def test_other_members_make_the_same_weights_and_other_public_people_do_not(flow, tmp_path):
    populations = flow.populations
    made = [
        make_submission(own, PUBLIC_ONLY, own.seen, seed=0, out=tmp_path / f"n{n}", work=tmp_path / f"w{n}")
        for n, own in enumerate((populations, populations.numbered(1)))
    ]
    assert same(*made)
    track = FLOW.model_copy(update={"roles": FLOW.roles.model_copy(update={"public": 13})})
    other = open_populations(track)
    third = make_submission(other, PUBLIC_ONLY, other.seen, seed=0, out=tmp_path / "n3", work=tmp_path / "w3")
    assert not same(made[0], third)
    assert made[0].card.training["pretraining"]["people"] == FLOW.roles.public
    assert [d.name for d in made[0].card.additional_data] == ["public"]


def test_given_weights_are_handed_out_as_they_are_and_need_no_public_faces(flow, tmp_path):
    fine = FLOW.model_copy(
        update={"fine_tuning": TrainingConfig(epochs=1), "roles": FLOW.roles.model_copy(update={"public": 0})}
    )
    populations = open_populations(fine)
    start = flow.submission
    made = make_submission(
        populations, PUBLIC_ONLY, populations.seen, seed=0, out=tmp_path / "out", work=tmp_path / "work", init=start
    )
    assert same(made, start)
    assert made.card.training["pretraining"]["epochs"] == 0
    with pytest.raises(FaceVeilError, match="needs public faces"):
        make_submission(populations, PUBLIC_ONLY, populations.seen, seed=0, out=tmp_path / "a", work=tmp_path / "b")


def test_a_defence_of_the_training_beside_it_is_refused_and_one_after_it_is_not():
    with pytest.raises(FaceVeilError, match="trains on no member's photo"):
        compose([PUBLIC_ONLY, DefenseSpec(name="augmentation")])
    assert not compose([PUBLIC_ONLY, DefenseSpec(name="bn_folding")]).trains_on_members
