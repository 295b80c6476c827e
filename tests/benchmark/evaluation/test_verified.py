from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from card_factory import make_card

from benchmark.evaluation.verified import TrainedHere, all_known, known_defenses, note_trained_here, trained_here
from benchmark.interfaces import BackboneSpec, DefenseSpec, FaceVeilError
from benchmark.protocol.registry import load_plugin_file
from benchmark.submissions.card import Claim

PLUGIN = """
from typing import ClassVar
from benchmark.interfaces import Defense, Reference

class Odd(Defense):
    name: ClassVar[str] = "odd"
    summary: ClassVar[str] = "Nothing."
    reference: ClassVar[Reference] = Reference(title="none")
    family: ClassVar[str] = "training"
"""


def test_a_note_keeps_number_and_backbone(flow, tmp_path):
    assert trained_here(tmp_path, flow.submission, flow.populations) is None
    spec = BackboneSpec(name="iresnet_slim", kwargs={"norm": "group"})
    note_trained_here(tmp_path, flow.submission, flow.populations, 2, spec)
    assert trained_here(tmp_path, flow.submission, flow.populations) == TrainedHere(2, spec)
    note_trained_here(tmp_path, flow.submission, flow.populations)
    assert trained_here(tmp_path, flow.submission, flow.populations) == TrainedHere()


def test_a_note_of_version_0_2_is_none(flow, tmp_path):
    path = tmp_path / "trained-here" / f"{flow.submission.submission_id}.json"
    path.parent.mkdir()
    path.write_text('{"defenses": [], "seed": 0}')
    assert trained_here(tmp_path, flow.submission, flow.populations) is None


FORGED = {
    "claim": Claim(epsilon=0.001, delta=1e-9, unit="photo", covers="model", accountant="prv"),
    "training": {"seconds": 0.001},
    "seed": 7,
    "norm": "group",
    "initialised_from": "nothing at all",
    "defenses": (DefenseSpec(name="dp_sgd", settings={"epsilon": 0.001}),),
}


@pytest.mark.parametrize("field", FORGED)
def test_a_card_that_says_more_than_the_trainer_is_not_verified(flow, tmp_path, field):
    """The same weights with an epsilon of 0.001 and a training of 1 ms stood on the verified board."""
    note_trained_here(tmp_path, flow.submission, flow.populations)
    forged = replace(flow.submission, card=flow.submission.card.model_copy(update={field: FORGED[field]}))
    assert forged.submission_id == flow.submission.submission_id
    assert trained_here(tmp_path, forged, flow.populations) is None
    renamed = replace(flow.submission, card=flow.submission.card.model_copy(update={"name": "a name is free", "team": "us"}))
    assert trained_here(tmp_path, renamed, flow.populations) == TrainedHere()


def test_a_damaged_note_is_named_and_makes_no_entry_one_of_weights(flow, tmp_path):
    note_trained_here(tmp_path, flow.submission, flow.populations)
    path = tmp_path / "trained-here" / f"{flow.submission.submission_id}.json"
    path.write_bytes(path.read_bytes().replace(b'"number":0', b'"number":1'))
    with pytest.raises(FaceVeilError, match="was damaged after it had been written: delete it, and train the submission again"):
        trained_here(tmp_path, flow.submission, flow.populations)


@pytest.mark.usefixtures("plugin_table")
def test_a_defence_is_known_by_its_file_and_not_by_its_name_alone(tmp_path):
    """Another file with a defence of the same name is another defence, for attacks and for inversion alike."""
    file = tmp_path / "odd.py"
    file.write_text(PLUGIN)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    ours = make_card(defenses=(DefenseSpec(name="odd"),), plugin_files={"odd": digest})
    theirs = ours.model_copy(update={"plugin_files": {"odd": "0" * 64}})
    assert not all_known(ours), "not loaded yet"
    load_plugin_file(file)
    assert all_known(ours)
    assert [d.name for d in known_defenses(ours)] == ["odd"]
    assert not all_known(theirs)
