"""What an entry costs to train again, and settings that are out of range: both known before anything is queued."""

from __future__ import annotations

from pathlib import Path

import pytest
from card_factory import make_card
from submission_factory import edit_card, make_submission

from benchmark.interfaces import DefenseSpec
from benchmark.protocol.tracks import TRACKS
from benchmark.submissions.training_cost import check_settings, training_cost
from benchmark.submissions.validation import validate

TRACK = TRACKS["synthetic-quick"]


def usual(**changes: object) -> float:
    size = (TRACK.image_size, TRACK.image_size)
    card = make_card(backbone=TRACK.backbone, input={"size": size}, **changes)
    cost = training_cost(card)
    assert cost is not None
    return cost


def test_the_tracks_own_training_is_the_unit() -> None:
    assert usual() == pytest.approx(1.0)


def test_epochs_and_networks_of_a_defence_are_counted() -> None:
    epochs = TRACK.training.epochs
    assert usual(defenses=(DefenseSpec(name="dp_sgd", settings={"epochs": 10 * epochs}),)) == pytest.approx(10.0)
    assert usual(defenses=(DefenseSpec(name="selena", settings={"models": 20}),)) >= 20
    assert usual(defenses=(DefenseSpec(name="distillation", settings={"epochs": 1000}),)) == pytest.approx(1000 / epochs)
    assert usual(defenses=(DefenseSpec(name="of_somebody_else", settings={}),)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("bn_perturbation", {"rho": -5}),
        ("distillation", {"epochs": 10**9}),
        ("adversarial_regularisation", {"hidden": 10**9}),
        ("dp_user", {"rounds": 10**9}),
        ("bn_perturbation", {"rhoo": 1}),
    ],
)
def test_settings_out_of_range_are_refused_at_validation(tmp_path: Path, name: str, settings: dict[str, object]) -> None:
    make_submission(tmp_path / "entry")
    edit_card(tmp_path / "entry", defenses=[{"name": name, "settings": settings}])
    (problem,) = validate(tmp_path / "entry").problems
    assert problem.code == "defense_settings"
    assert name in problem.message


def test_a_defence_of_somebody_else_is_not_judged() -> None:
    assert check_settings(make_card(defenses=(DefenseSpec(name="mine", settings={"x": 10**9}),))) == []
