"""Which backbones an entry has, which of them are attacked, and on which board it stands."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from tiny_world import FLOW

from benchmark.data.populations import open_populations
from benchmark.evaluation.entry import EntryMaker
from benchmark.evaluation.verified import note_trained_here
from benchmark.interfaces import DefenseSpec, FaceVeilError
from benchmark.submissions.card import CanaryNote
from benchmark.submissions.submission import load_submission, pack
from benchmark.training.population import Population

UNDEFENDED = DefenseSpec(name="undefended")
TRACK = FLOW.model_copy(update={"population": 2})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("entry")


@pytest.fixture(scope="module")
def populations(place):
    return open_populations(TRACK, cache=place / "photos")


@pytest.fixture(scope="module")
def trained(place, populations):
    """Number 0 of the undefended population, noted as trained here."""
    population = Population(populations, place / "populations")
    submission = population.submission(population.recipes(UNDEFENDED)[0])
    note_trained_here(place, submission, populations)
    return submission


def entry_of(submission, place, populations, **options):
    return EntryMaker(populations, place, **options).of(submission)


def repacked(submission, folder, backbone=None, **card):
    return pack(folder, submission.card.model_copy(update=card), backbone or submission.backbone())


def test_what_was_trained_here_is_a_population_of_targets(trained, place, populations):
    entry = entry_of(trained, place, populations)
    assert (entry.board, entry.shadows, entry.targets) == ("verified", "same_defense", (0, 1))
    assert entry.models[0] is trained
    assert entry.models[1].submission_id != trained.submission_id


def test_a_copy_or_another_name_on_the_card_changes_nothing(trained, place, populations, tmp_path):
    copied = load_submission(shutil.copytree(trained.path, tmp_path / "copy"))
    assert entry_of(copied, place, populations).board == "verified"
    assert entry_of(repacked(trained, tmp_path / "renamed", name="ours"), place, populations).board == "verified"


def test_other_weights_or_another_claim_come_from_outside(trained, place, populations, tmp_path):
    backbone = trained.backbone()
    backbone.fc.weight.data *= 1.5
    changed = entry_of(repacked(trained, tmp_path / "changed", backbone), place, populations)
    assert (changed.board, changed.targets, changed.shadows) == ("weights", (0,), "same_defense")
    assert len(changed.models) == 2, "the other numbers of the card's defence are its shadows"
    claimed = repacked(trained, tmp_path / "claimed", defenses=(DefenseSpec(name="early_stopping"),))
    assert entry_of(claimed, place, populations).board == "weights"


def test_shadows_of_an_unknown_defence_are_undefended_and_said_to_be(trained, place, populations, tmp_path):
    foreign = repacked(trained, tmp_path / "foreign", defenses=(DefenseSpec(name="secret_sauce"),))
    entry = entry_of(foreign, place, populations)
    assert (entry.board, entry.targets, entry.shadows) == ("weights", (0,), "undefended")
    assert entry.models[1].card.defenses[0].name == "undefended"


def test_another_split_is_not_this_one(trained, place, populations):
    elsewhere = replace(populations, track=TRACK.model_copy(update={"split_seed": 9}))
    assert entry_of(trained, place, elsewhere).board == "weights"


def test_a_backbone_with_canaries_stands_alone(trained, place, populations, tmp_path):
    """No other was trained like it: it is one target, with shadows of the same defence."""
    note = CanaryNote(**{name: _some(field) for name, field in CanaryNote.model_fields.items() if field.is_required()})
    with_canaries = repacked(trained, tmp_path / "canaries", canaries=note)
    note_trained_here(place, with_canaries, populations)
    entry = entry_of(with_canaries, place, populations)
    assert (entry.board, entry.targets, entry.shadows) == ("verified", (0,), "same_defense")
    note_trained_here(place, trained, populations)


def _some(field):
    return {int: 4, str: "photo", float: 0.5}.get(field.annotation, "photo")


def test_a_number_other_than_the_canonical_one_takes_its_own_place(place, populations):
    population = Population(populations, place / "populations")
    other = population.submission(population.recipes(UNDEFENDED)[1])
    note_trained_here(place, other, populations, number=1)
    entry = entry_of(other, place, populations)
    assert entry.models[1] is other
    assert entry.submission is other
    assert entry.targets == (0, 1)


def test_fine_tuned_weights_want_their_start(trained, place, populations, tmp_path):
    tuned = repacked(trained, tmp_path / "tuned", initialised_from="a public backbone")
    with pytest.raises(FaceVeilError, match=r"fine-tuned from 'a public backbone'.*--init"):
        entry_of(tuned, place, populations)


def test_a_plugin_that_is_not_loaded_is_named_and_nothing_is_done(trained, place, populations, tmp_path):
    files = {"weight_noise": "ab" * 32}
    ours = repacked(trained, tmp_path / "ours", defenses=(DefenseSpec(name="weight_noise"),), plugin_files=files)
    note_trained_here(place, ours, populations)
    before = sorted((place / "populations").iterdir())
    with pytest.raises(
        FaceVeilError, match=r"'weight_noise'.*plug-in file \(sha256 abababababab\), and it is not loaded.*--plugin"
    ):
        entry_of(ours, place, populations)
    assert sorted((place / "populations").iterdir()) == before
    note_trained_here(place, trained, populations)
