"""From a defence's name to a submission: nothing is trained twice, and the card tells all of it."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from tiny_world import UNDEFENDED

from benchmark.interfaces import BackboneSpec, Defense, DefenseSpec, FaceVeilError, Reference
from benchmark.making import make_submission, make_untrained
from benchmark.registry import SettingsError, UnknownPluginError, build_defense

EPOCHS = 2  # of the flow track


@pytest.fixture
def make(flow, tmp_path):
    """Makes a submission of the flow track in this test's own work folder; ``epochs`` counts what was trained."""

    class Maker:
        def __init__(self) -> None:
            self.epochs = 0

        def _count(self, _report) -> None:
            self.epochs += 1

        def __call__(self, name, settings=None, *, seed=0, out="entry", work="work", **more):
            p = flow.populations
            spec = DefenseSpec(name=name, settings=settings or {})
            more = {"progress": self._count, **more}
            return make_submission(p, spec, p.seen, seed=seed, out=tmp_path / out, work=tmp_path / work, **more)

    return Maker()


def test_post_hoc_defences_train_nothing_again(make):
    undefended = make("undefended", out="a")
    assert make.epochs == EPOCHS
    weak = make("bn_perturbation", {"rho": 0.1}, out="b")
    strong = make("bn_perturbation", {"rho": 0.5}, out="c")
    make("undefended", out="d")
    assert make.epochs == EPOCHS, "all of them start from the same trained weights"
    assert len({s.weights_sha256 for s in (undefended, weak, strong)}) == 3
    for entry in (weak, strong):
        assert entry.card.training["base_submission"] == undefended.submission_id
        for name, tensor in undefended.weights.items():
            same = torch.equal(tensor, entry.weights[name])
            assert same != name.endswith(("running_mean", "running_var")), name
    make("undefended", seed=1, out="e")
    assert make.epochs == 2 * EPOCHS, "another seed is another training"


def test_a_training_defence_is_trained_anew(make):
    make("undefended", out="a")
    before = make.epochs
    stopped = make("early_stopping", out="b")
    assert make.epochs == before + 1
    assert stopped.card.training["stopped_after_epochs"] == 1
    assert "base_submission" not in stopped.card.training


@pytest.mark.parametrize("name", ["undefended", "bn_perturbation", "early_stopping"])
def test_the_seed_decides_the_weights(make, name):
    first = make(name, out="a", work="w1")
    again = make(name, out="b", work="w2")
    other = make(name, out="c", work="w1", seed=1)
    assert make.epochs > 0
    assert again.submission_id == first.submission_id
    assert other.submission_id != first.submission_id
    assert (first.card.seed, other.card.seed) == (0, 1)


def test_the_card_tells_every_setting(flow, make):
    submission = make("bn_perturbation", {"rho": 0.3}, seed=5, card={"team": "us", "licence": "CC0-1.0"})
    card = submission.card
    assert card.name == "bn_perturbation(rho=0.3)"
    assert (card.team, card.licence, card.seed) == ("us", "CC0-1.0", 5)
    assert (card.track, card.protocol_version) == (flow.track.name, flow.track.version)
    assert card.defenses == (DefenseSpec(name="bn_perturbation", settings={"rho": 0.3}),)
    assert card.backbone.kwargs == {**flow.track.backbone.kwargs, "input_size": [32, 32]}
    assert (card.norm, card.embedding_size, card.input.size) == ("batch", 16, (32, 32))
    assert card.claim is None
    assert card.initialised_from == ""
    assert card.additional_data == ()
    assert card.training["epochs"] == EPOCHS
    assert card.training["seconds"] > 0
    assert 0 <= card.training["final_accuracy"] <= 1
    assert submission.head is not None


def test_settings_left_out_stand_in_the_card_all_the_same(make):
    spec = DefenseSpec(name="bn_perturbation")
    card = make("bn_perturbation").card
    assert card.defenses[0].settings == build_defense(spec).settings() != {}


def test_dp_sgd_claims_what_its_accountant_found(make):
    card = make("dp_sgd").card
    settings = card.defenses[0].settings
    assert settings == build_defense(DefenseSpec(name="dp_sgd")).settings()
    assert card.claim is not None
    assert card.claim.covers == "model"
    assert card.claim.accountant
    assert card.claim.epsilon > 0
    assert 0 < card.claim.delta < 1
    assert card.norm == "group"
    assert "claim" not in card.training, "said once"


def test_another_backbone_than_the_tracks(flow, make):
    kwargs = {**flow.track.backbone.kwargs, "norm": "group"}
    submission = make("undefended", backbone=BackboneSpec(name="iresnet_slim", kwargs=kwargs))
    assert submission.card.norm == "group"
    assert not any("running_mean" in name for name in submission.weights)
    with pytest.raises(FaceVeilError, match="bn_perturbation: the backbone has no BatchNorm statistics"):
        make("bn_perturbation", backbone=submission.card.backbone, out="other")


class WantsPublic(Defense):
    """Zeroes the first running mean, and remembers what it was given."""

    name: ClassVar[str] = "wants_public"
    summary: ClassVar[str] = "Takes public faces."
    reference: ClassVar[Reference] = Reference(title="this test", where="here")
    family: ClassVar[str] = "bn_statistics"
    needs_public: ClassVar[bool] = True
    post_hoc: ClassVar[bool] = True
    given: ClassVar[list] = []

    def release(self, backbone, public, seed):
        self.given.append(public)
        return backbone


def test_public_faces_reach_the_defence_and_the_card(flow, make, plugin_table):
    plugin_table(WantsPublic)
    WantsPublic.given.clear()
    card = make("wants_public").card
    assert [p.digest for p in WantsPublic.given] == [flow.populations.auxiliary.digest]
    assert [a.name for a in card.additional_data] == ["auxiliary"]


def test_refusals_come_before_training(flow, make):
    with pytest.raises(UnknownPluginError, match="did you mean 'undefended'"):
        make("undefendet")
    with pytest.raises(SettingsError, match="no setting 'roh'"):
        make("bn_perturbation", {"roh": 1})
    with pytest.raises(FaceVeilError, match="'tiny-flow' trains from scratch and has no fine-tuning schedule"):
        make("undefended", init=flow.submission)
    assert make.epochs == 0


def test_the_untrained_backbone_repeats_and_is_no_trained_one(flow, tmp_path):
    first = make_untrained(flow.track, tmp_path / "a")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    assert make_untrained(flow.track, tmp_path / "a").submission_id == first.submission_id
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")} == written, "read from disk"
    assert make_untrained(flow.track, tmp_path / "b").submission_id == first.submission_id
    assert first.weights.keys() == flow.submission.weights.keys()
    assert first.weights_sha256 != flow.submission.weights_sha256
    means = [t for name, t in first.weights.items() if name.endswith("running_mean")]
    assert means
    assert not any(t.any() for t in means), "no photo has passed through it"
    assert first.card.defenses == (UNDEFENDED,)
