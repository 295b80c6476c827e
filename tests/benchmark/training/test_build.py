from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.interfaces import BackboneSpec, Defense, DefenseSpec, FaceVeilError, Reference, ReleaseContext
from benchmark.submissions.submission import load_submission
from benchmark.submissions.validation import validate
from benchmark.training import build
from benchmark.training.build import make_submission, make_untrained, training_track
from benchmark.training.scale import Group

UNDEFENDED = DefenseSpec(name="undefended")
PERTURBED = DefenseSpec(name="bn_perturbation", settings={"rho": 0.3})
STOPPED = DefenseSpec(name="early_stopping")


class Scaled(Defense):
    """Post-hoc: scales one layer by a factor that depends on public faces, and claims nothing."""

    name: ClassVar[str] = "scaled"
    summary: ClassVar[str] = "Scales a layer."
    reference: ClassVar[Reference] = Reference(title="none")
    family: ClassVar[str] = "embedding"
    post_hoc: ClassVar[bool] = True
    needs_public: ClassVar[bool] = True

    def release(self, backbone: nn.Module, context: ReleaseContext) -> nn.Module:
        assert len(context.public) > 0
        with torch.no_grad():
            backbone.fc.weight.mul_(2.0)
        return backbone

    def inference(self):
        return {"kind": "int8"}


class Claiming(Defense):
    """Trains plainly and claims a guarantee."""

    name: ClassVar[str] = "claiming"
    summary: ClassVar[str] = "Claims."
    reference: ClassVar[Reference] = Reference(title="none")
    family: ClassVar[str] = "dp"

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        return BackboneSpec(name=backbone.name, kwargs={**backbone.kwargs, "norm": "group"})

    def fit(self, trainer) -> None:
        trainer.provenance["claim"] = {"epsilon": 3.0, "delta": 1e-5, "unit": "photo"}
        trainer.provenance["note"] = "kept"
        trainer.run()


@pytest.fixture
def make(flow, tmp_path):
    """Trains on the flow track's members; ``epochs`` counts what was trained."""

    def run(defense: DefenseSpec, *, seed: int = 0, name: str = "entry", **options):
        return make_submission(
            flow.populations,
            defense,
            flow.populations.seen,
            seed=seed,
            out=tmp_path / name,
            work=tmp_path / "work",
            **{"progress": run.epochs.append, **options},
        )

    run.epochs = []
    return run


def test_the_card_says_what_was_done(make, flow, tmp_path):
    submission = make(PERTURBED, seed=5, card={"team": "us"})
    card = submission.card
    assert (card.track, card.seed, card.team, card.norm) == ("tiny-flow", 5, "us", "batch")
    assert card.name == "bn_perturbation(rho=0.3)"
    assert card.defenses == (DefenseSpec(name="bn_perturbation", settings={"rho": 0.3}),)
    assert card.protocol_version == flow.track.version
    assert card.input.size == (32, 32)
    assert card.embedding_size == 16
    assert card.training["epochs"] == flow.track.training.epochs
    assert card.initialised_from == ""
    report = validate(tmp_path / "entry")
    assert report.ok, report.problems
    assert load_submission(tmp_path / "entry").submission_id == submission.submission_id


def test_settings_are_written_out_in_full(make):
    assert make(DefenseSpec(name="bn_perturbation")).card.defenses[0].settings == {"rho": 0.1}


def test_the_same_seed_gives_the_same_submission(make):
    first, again = make(STOPPED, name="first"), make(STOPPED, name="again")
    assert first.submission_id == again.submission_id
    assert make(STOPPED, seed=1, name="other").submission_id != first.submission_id


def test_a_post_hoc_defence_trains_nothing_of_its_own(make, flow):
    undefended = make(UNDEFENDED, name="undefended")
    trained = len(make.epochs)
    assert trained == flow.track.training.epochs
    for rho in (0.1, 0.5):
        released = make(DefenseSpec(name="bn_perturbation", settings={"rho": rho}), name=f"rho-{rho}")
        assert released.card.training["base_submission"] == undefended.submission_id
        learnt = {n for n, w in released.weights.items() if not torch.equal(w, undefended.weights[n])}
        assert {n.rpartition(".")[2] for n in learnt} == {"running_mean", "running_var"}
    assert len(make.epochs) == trained
    make(STOPPED, name="stopped")
    assert len(make.epochs) > trained


def test_the_base_itself_is_never_changed(make):
    first = make(UNDEFENDED, name="before")
    make(DefenseSpec(name="bn_perturbation", settings={"rho": 5.0}), name="strong")
    assert make(UNDEFENDED, name="after").submission_id == first.submission_id


def test_other_seeds_and_photos_have_other_bases(make, flow, tmp_path):
    first = make(UNDEFENDED, name="first")
    second = make(UNDEFENDED, seed=1, name="second")
    other = make_submission(
        flow.populations,
        UNDEFENDED,
        flow.populations.seen.take(np.arange(20)),
        seed=0,
        out=tmp_path / "other",
        work=tmp_path / "work",
        progress=make.epochs.append,
    )
    assert len({first.submission_id, second.submission_id, other.submission_id}) == 3
    assert len(make.epochs) == 3 * flow.track.training.epochs


def test_an_interrupted_training_goes_on_where_it_stopped(make, flow, tmp_path):
    def stop(report):
        if report.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(UNDEFENDED, progress=stop)
    assert not (tmp_path / "entry").exists()
    resumed = make(UNDEFENDED)
    assert [report.epoch for report in make.epochs] == [2]
    assert resumed.submission_id == flow.submission.submission_id
    assert resumed.card.training["epochs"] == flow.track.training.epochs


def test_public_faces_and_inference_are_on_the_card(make, plugin_table):
    plugin_table(Scaled)
    card = make(DefenseSpec(name="scaled")).card
    assert [d.name for d in card.additional_data] == ["public"]
    assert card.inference == {"kind": "int8"}
    assert make(UNDEFENDED, name="plain").card.additional_data == ()


def test_claims_norms_and_notes_come_from_the_defence(make, plugin_table):
    plugin_table(Claiming)
    card = make(DefenseSpec(name="claiming")).card
    assert (card.claim.epsilon, card.claim.unit, card.claim.covers) == (3.0, "photo", "model")
    assert card.norm == "group"
    assert card.training["note"] == "kept"
    assert "claim" not in card.training


def test_the_training_head_is_handed_in_beside_the_weights(make, flow):
    submission = make(UNDEFENDED)
    assert submission.head["weight"].shape == (flow.track.roles.members, 16)


def test_fine_tuning_takes_the_other_weights_architecture_and_schedule(make, flow):
    init = flow.submission
    with pytest.raises(FaceVeilError, match="no fine-tuning schedule"):
        training_track(flow.track, None, init)
    schedule = flow.track.training.model_copy(update={"epochs": 1, "lr": 1e-6, "warmup_epochs": 0})
    tuned = training_track(flow.track.model_copy(update={"fine_tuning": schedule}), None, init)
    assert tuned.backbone == init.card.backbone
    assert tuned.training == schedule
    other = BackboneSpec(name="mobilefacenet")
    assert training_track(flow.track, other, None).backbone == other
    assert training_track(flow.track, None, None) == flow.track


def test_fine_tuned_weights_start_from_those_given(flow, tmp_path):
    schedule = flow.track.training.model_copy(update={"epochs": 1, "lr": 1e-6, "warmup_epochs": 0})
    populations = replace(flow.populations, track=flow.track.model_copy(update={"fine_tuning": schedule}))
    tuned = make_submission(
        populations, STOPPED, populations.seen, seed=0, out=tmp_path / "tuned", work=tmp_path, init=flow.submission
    )
    for name, weight in tuned.weights.items():
        if name.endswith("conv1.weight"):
            torch.testing.assert_close(weight, flow.submission.weights[name], atol=1e-4, rtol=1e-3)
    assert tuned.card.initialised_from == flow.submission.card.name
    assert tuned.submission_id != flow.submission.submission_id


def test_an_unknown_defence_costs_no_training(make):
    with pytest.raises(FaceVeilError, match="Did you mean 'undefended'"):
        make(DefenseSpec(name="undefend"))
    assert not make.epochs


def test_the_untrained_backbone_is_the_track_s_own_and_always_the_same(flow, tmp_path):
    first = make_untrained(flow.track, tmp_path / "a")
    again = make_untrained(flow.track, tmp_path / "b")
    assert first.submission_id == again.submission_id
    assert first.weights.keys() == flow.submission.weights.keys()
    assert {n: w.shape for n, w in first.weights.items()} == {n: w.shape for n, w in flow.submission.weights.items()}
    assert make_untrained(flow.track, tmp_path / "a").path == first.path


@pytest.mark.parametrize("spoil", [float("nan"), 1e30], ids=["weights", "embedding"])
def test_what_diverged_in_its_last_step_is_not_packed(make, tmp_path, monkeypatch, spoil):
    """The loss of the last step is that of the weights before it."""
    trained = build.train_backbone

    def diverging(*args, **kwargs):
        model = trained(*args, **kwargs)
        with torch.no_grad():
            for parameter in model.backbone.parameters():
                parameter.mul_(spoil)
        return model

    monkeypatch.setattr(build, "train_backbone", diverging)
    with pytest.raises(FaceVeilError, match=r"hold NaN or infinity.*Training diverged in its last steps; nothing was written"):
        make(UNDEFENDED, seed=17, name="diverged")
    assert not (tmp_path / "diverged").exists()


def test_processes_but_the_first_leave_nothing(make, flow, tmp_path, monkeypatch):
    class Second:
        current = staticmethod(lambda: Group(1, 2))

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(build, "Group", Second)
    submission = make(UNDEFENDED)
    assert submission.path is None
    assert submission.weights_sha256 == flow.submission.weights_sha256
    assert not (tmp_path / "entry").exists()
    assert list(temporary.iterdir()) == []
