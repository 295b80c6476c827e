from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from benchmark.interfaces import (
    AttackSpec,
    Batch,
    Defense,
    DefenseSpec,
    FaceVeilError,
    Reference,
    SettingsError,
    UnknownPluginError,
)
from benchmark.submissions.submission import load_submission
from benchmark.training.build import make_submission
from benchmark.training.composition import compose, parse_defenses


class _Traced(Defense):
    """Leaves its name at every stage it has."""

    summary: ClassVar[str] = "Traces."
    reference: ClassVar[Reference] = Reference(title="a test")
    family: ClassVar[str] = "training"
    trace: ClassVar[list[str]] = []

    def adaptive_attacks(self):
        return (AttackSpec(name="bn_distance"), AttackSpec(name="regrown_head", settings={"scale": len(self.name)}))


class Brighter(_Traced):
    """Prepares a wider embedding, adds light and a loss of 1; releases."""

    name: ClassVar[str] = "brighter"
    light: float = 0.1

    def prepare(self, backbone):
        return backbone.model_copy(update={"kwargs": {**backbone.kwargs, "embedding_size": 24}})

    def transform_batch(self, batch, trainer):
        return replace(batch, inputs=batch.inputs + self.light)

    def loss(self, loss, batch, trainer):
        assert batch.notes["second"] == "seen"
        return loss + 1

    def modules(self, trainer):
        return {"brighter": torch.nn.Linear(2, 2)}

    def release(self, backbone, context):
        self.trace.append("brighter")
        with torch.no_grad():
            backbone.fc.weight.fill_(3.0)
        return backbone

    def inference(self):
        return {"kind": "int8"}


class Second(_Traced):
    """Configures, owns the loop, changes the loss after the first."""

    name: ClassVar[str] = "second"

    def configure(self, config):
        return config.model_copy(update={"epochs": 1})

    def transform_batch(self, batch, trainer):
        batch.notes["second"] = "seen"
        return replace(batch, inputs=batch.inputs * 2)

    def loss(self, loss, batch, trainer):
        return loss * 10

    def fit(self, trainer):
        assert set(trainer.extra) == {"brighter"}
        self.trace.append("fit")
        trainer.run()

    def release(self, backbone, context):
        self.trace.append("second")
        with torch.no_grad():
            backbone.fc.weight.mul_(2.0)
        context.provenance["second"] = float(backbone.fc.weight.detach()[0, 0])
        return backbone

    def inference(self):
        return {"kind": "sign"}


class Mixing(_Traced):
    """Couples the photos of a batch."""

    name: ClassVar[str] = "mixing"
    couples_samples: ClassVar[bool] = True


class Public(_Traced):
    """Wants public faces."""

    name: ClassVar[str] = "wants_public"
    needs_public: ClassVar[bool] = True


class Grouped(_Traced):
    """Trains without BatchNorm."""

    name: ClassVar[str] = "grouped"

    def prepare(self, backbone):
        return backbone.model_copy(update={"kwargs": {**backbone.kwargs, "norm": "group"}})


class Afresh(_Traced):
    """Post-hoc: writes all statistics."""

    name: ClassVar[str] = "afresh"
    family: ClassVar[str] = "bn_statistics"
    post_hoc: ClassVar[bool] = True
    needs_batchnorm: ClassVar[bool] = True
    resets_statistics: ClassVar[bool] = True

    def release(self, backbone, context):
        backbone.bn1.running_mean.fill_(0.25)
        return backbone


@pytest.fixture(autouse=True)
def plugins(plugin_table):
    for plugin in (Brighter, Second, Mixing, Public, Grouped, Afresh):
        plugin_table(plugin)
    _Traced.trace.clear()


@pytest.fixture
def make(flow, tmp_path):
    def run(text, settings=None, *, name="entry", **options):
        run.epochs.clear()
        return make_submission(
            options.pop("populations", flow.populations),
            parse_defenses(text, settings or {}),
            flow.populations.seen,
            seed=0,
            out=tmp_path / name,
            work=tmp_path / "work",
            progress=run.epochs.append,
            **options,
        )

    run.epochs = []
    return run


def names(text: str) -> list[str]:
    return [member.name for member in compose(parse_defenses(text, {})).members]


def test_names_and_settings_are_read_from_a_command_line():
    assert parse_defenses("bn_perturbation", {"rho": 0.5}) == (DefenseSpec(name="bn_perturbation", settings={"rho": 0.5}),)
    assert parse_defenses("bn_perturbation", {"bn_perturbation.rho": 0.5})[0].settings == {"rho": 0.5}
    first, second = parse_defenses("brighter + early_stopping", {"early_stopping.share": 0.2})
    assert (first.name, first.settings, second.settings) == ("brighter", {}, {"share": 0.2})


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("brighter+", {}, "a name is missing"),
        ("brighter+second", {"light": 1}, "does not say whose it is .* write brighter.light or second.light"),
        ("brighter+second", {"bn_perturbation.rho": 1}, "'bn_perturbation', which is not among"),
        ("brighter", {"other.light": 1}, "'other', which is not among"),
    ],
)
def test_a_command_line_that_says_too_little_is_refused(text, settings, message):
    with pytest.raises(FaceVeilError, match=message):
        parse_defenses(text, settings)


def test_every_stage_of_every_member_takes_part_in_order(make, tmp_path):
    submission = make("brighter+second", {"brighter.light": 0.3})
    card = submission.card
    assert _Traced.trace == ["fit", "brighter", "second"]
    assert [d.name for d in card.defenses] == ["brighter", "second"]
    assert card.defenses[0].settings == {"light": 0.3}
    assert card.name == "brighter(light=0.3) + second"
    assert card.embedding_size == 24  # prepare
    assert card.training["epochs"] == 1  # configure
    assert (submission.weights["fc.weight"] == 6.0).all()  # release: 3, then doubled
    assert card.training["second"] == 6.0
    assert card.inference == {"kind": "chain", "steps": [{"kind": "int8"}, {"kind": "sign"}]}
    assert load_submission(tmp_path / "entry").submission_id == submission.submission_id
    swapped = make("second+brighter", name="swapped")
    assert (swapped.weights["fc.weight"] == 3.0).all()
    assert swapped.submission_id != submission.submission_id


def test_losses_and_batches_are_chained():
    composition = compose(parse_defenses("second+brighter", {}))
    batch = composition.transform_batch(Batch(None, torch.ones(1, 3, 2, 2), torch.zeros(1), 0, 0), None)
    assert torch.allclose(batch.inputs, torch.tensor(2.1))
    assert composition.loss(torch.tensor([2.0]), batch, None).tolist() == [21.0]
    assert compose(parse_defenses("brighter+second", {})).loss(torch.tensor([2.0]), batch, None).tolist() == [30.0]


def test_adaptive_attacks_are_the_union_each_once():
    labels = [s.label for s in compose(parse_defenses("brighter+second", {})).adaptive_attacks()]
    assert labels == ["bn_distance", "regrown_head(scale=8)", "regrown_head(scale=6)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("brighter+brighter", "named twice"),
        ("undefended+brighter", "leave it out"),
        ("second+early_stopping", "each own the training loop"),
        ("dp_sgd+early_stopping", "each own the training loop"),
        ("dp_sgd+mixing", "mixing couples the photos .* no guarantee holds"),
        ("dp_sgd+brighter", "dp_sgd owns the training loop and would not apply brighter"),
        ("bn_perturbation+afresh", "put bn_perturbation after it"),
    ],
)
def test_contradictions_are_refused_with_the_reason(text, message, make):
    with pytest.raises(FaceVeilError, match=message):
        make(text)
    assert not make.epochs


def test_a_post_hoc_mechanism_without_batchnorm_is_refused_before_training(make):
    with pytest.raises(FaceVeilError, match="bn_perturbation acts on BatchNorm layers, and after grouped"):
        make("grouped+bn_perturbation")
    with pytest.raises(FaceVeilError, match="after grouped"):
        make("bn_perturbation+grouped")  # all prepare before any releases
    assert not make.epochs


def test_a_backbone_without_batchnorm_is_refused_too(make, flow):
    with pytest.raises(FaceVeilError, match="backbone 'iresnet_slim' has none"):
        make("bn_perturbation", backbone=Grouped().prepare(flow.track.backbone))
    assert not make.epochs


def test_public_faces_are_asked_for_before_training(make, flow):
    bare = replace(flow.populations, public=None)
    with pytest.raises(FaceVeilError, match="wants_public needs public faces and this track has none"):
        make("early_stopping+wants_public", populations=bare)
    assert not make.epochs


def test_an_adaface_head_and_dp_are_refused_before_training(make, flow):
    track = flow.track.model_copy(update={"head": flow.track.head.model_copy(update={"name": "adaface"})})
    with pytest.raises(FaceVeilError, match="adaface head couples the photos"):
        make("dp_sgd", populations=replace(flow.populations, track=track))
    assert not make.epochs


def test_impossible_strengths_are_refused_before_training(make):
    with pytest.raises(SettingsError, match="rho"):
        make("early_stopping+bn_perturbation", {"bn_perturbation.rho": -1})
    with pytest.raises(FaceVeilError, match="no noise reaches epsilon 1e-07"):
        make("dp_sgd", {"epsilon": 1e-7, "delta": 1e-9})
    with pytest.raises(UnknownPluginError, match="Did you mean 'early_stopping'"):
        make("brighter+early_stoping")
    assert not make.epochs


def test_members_that_only_release_reuse_what_was_trained_without_them(make):
    stopped = make("early_stopping", {"share": 0.5}, name="stopped")
    weak = make("early_stopping+bn_perturbation", {"early_stopping.share": 0.5, "bn_perturbation.rho": 0.1}, name="weak")
    strong = make("early_stopping+bn_perturbation", {"early_stopping.share": 0.5, "bn_perturbation.rho": 0.5}, name="strong")
    assert not make.epochs, "the base was trained for the first of them"
    assert [d.name for d in strong.card.defenses] == ["early_stopping", "bn_perturbation"]
    assert weak.card.training["base_submission"] == strong.card.training["base_submission"] == stopped.submission_id
    assert strong.card.training["stopped_after_epochs"] == 1
    changed = {n for n, w in strong.weights.items() if not torch.equal(w, stopped.weights[n])}
    assert {n.rpartition(".")[2] for n in changed} == {"running_mean", "running_var"}


def test_post_hoc_members_apply_in_order(make):
    both = make("afresh+bn_perturbation", {"bn_perturbation.rho": 0.1})
    noise = both.weights["bn1.running_mean"] - 0.25
    assert noise.abs().max() > 0
    assert (noise.abs() < 1).all()
    assert names("afresh+bn_perturbation") == ["afresh", "bn_perturbation"]
