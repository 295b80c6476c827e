from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from tiny_world import FLOW, command

from benchmark.evaluation import standard
from benchmark.evaluation.membership import score_metrics
from benchmark.evaluation.session import Session
from benchmark.evaluation.standard import Evaluation
from benchmark.evaluation.verified import note_trained_here
from benchmark.interfaces import (
    Access,
    AttackSpec,
    BackboneSpec,
    Contrast,
    DefenseSpec,
    FaceVeilError,
    Knowledge,
    MembershipAttack,
    Reference,
    SignalRequest,
    UnknownPluginError,
)
from benchmark.records.record import Record
from benchmark.service.store import Outcome, Store
from benchmark.submissions.submission import load_submission, pack
from benchmark.training.build import make_submission

UNDEFENDED = DefenseSpec(name="undefended")
PERTURBED = DefenseSpec(name="bn_perturbation", settings={"rho": 0.5})
EMBEDDING = SignalRequest(layers="embedding")


class Silent:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.epochs: list = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def training(self, report) -> None:
        self.epochs.append(report)


@pytest.fixture(scope="module", autouse=True)
def few_replicates():
    """Intervals are tested elsewhere; here they are only to be the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_metrics, "REPLICATES", 100)
        yield


@pytest.fixture(scope="module")
def reference(flow, tmp_path_factory) -> Record:
    """The record of the undefended flow entry, never interrupted."""
    return Evaluation(flow.submission, flow.populations, tmp_path_factory.mktemp("cache")).run()


@pytest.fixture
def evaluation(flow, tmp_path) -> Evaluation:
    return Evaluation(flow.submission, flow.populations, tmp_path / "cache")


def relabelled(flow, folder, **card):
    """The flow entry with another card."""
    submission = flow.submission
    return pack(folder, submission.card.model_copy(update=card), submission.backbone(), submission.head)


# A whole record


def test_a_record_holds_the_track_s_attacks_and_those_that_know_the_defence(reference, flow):
    by_label = {r.label: r for r in reference.membership}
    assert [r.label for r in reference.membership if not r.adaptive] == [s.label for s in flow.track.attacks]
    assert by_label["bn_distance(statistics=auxiliary)"].adaptive
    assert len(by_label) == len(reference.membership)
    assert all(r.status == "ok" for r in reference.membership)
    assert reference.complete
    assert reference.extra == {"smoke": True}
    assert set(reference.attacks) == {"bn_distance", "embedding_norm", "regrown_head"}
    assert set(reference.defenses) == {"undefended"}
    assert reference.flags == ()


def test_every_number_has_an_interval_or_a_reason(reference):
    metrics = dict(reference.utility)
    for attack in reference.membership:
        for result in attack.contrasts.values():
            metrics |= {f"{attack.label} {result.contrast} {k}": m for k, m in result.metrics.items()}
    assert len(metrics) > 50
    for name, m in metrics.items():
        if m.value is None:
            assert "not measurable" in m.note, name
        else:
            assert m.low <= m.value <= m.high, name
            assert m.n > 0


def test_the_headline_is_about_the_people_asked(reference, flow):
    head = reference.headline
    assert head.utility == reference.utility["tar@far=1e-3"]
    assert len(head.utility_replicates) == len(head.leakage_replicates) == 200
    chosen = next(r for r in reference.membership if r.label == head.leakage_attack)
    assert head.leakage.n < chosen.contrasts[head.leakage_contrast].people


def test_provenance_names_what_it_rests_on(reference, flow):
    found = reference.provenance
    assert found.track_digest == flow.track.digest
    assert found.submission_id == flow.submission.submission_id
    assert found.weights_sha256 == flow.submission.weights_sha256
    assert (found.data_digest, found.split_digest) == (flow.populations.data_digest, flow.populations.split_digest)
    assert {"python", "faceveil", "torch", "timm"} <= set(found.versions)
    assert found.seconds > 0
    assert found.peak_memory_mb > 10
    assert all(0 <= a.peak_memory_mb < found.peak_memory_mb for a in reference.membership)
    assert {a.memory_measure for a in reference.membership} <= {"growth", "beyond_peak"}


def test_a_record_survives_json_and_the_store(reference, tmp_path):
    again = Record.model_validate_json(reference.model_dump_json())
    assert again == reference
    assert "NaN" not in reference.model_dump_json()
    store = Store(tmp_path / "store.sqlite")
    assert store.add_record(reference) == Outcome.ADDED
    assert store.records("tiny-flow") == [reference]


# Resuming


STAGES = {
    "checks": ("flags", 1),
    "utility": ("verify_photos", 1),
    "gate": ("blind_gate", 1),
    "signals": ("gather", 1),
    "first attack": ("run_attack", 1),
    "third attack": ("run_attack", 3),
    "scores of the second attack": ("save_scores", 2),
    "headline": ("headline", 1),
}


@pytest.mark.parametrize("stage", STAGES)
def test_interrupted_anywhere_it_ends_in_the_same_record(stage, reference, evaluation, monkeypatch):
    function, at = STAGES[stage]
    whole = getattr(standard, function)
    calls = 0

    def interrupted(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(standard, function, interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluation.run()
    assert evaluation.run().fingerprint == reference.fingerprint


def test_what_was_finished_is_not_computed_again(reference, evaluation, monkeypatch):
    """Interrupted in the third attack: checks, utility, gate, signals and two attacks stay done."""
    ran: list[str] = []
    whole = standard.run_attack

    def counting(spec, *args, **kwargs):
        ran.append(spec.label)
        if len(ran) == 3:
            raise KeyboardInterrupt
        return whole(spec, *args, **kwargs)

    monkeypatch.setattr(standard, "run_attack", counting)
    with pytest.raises(KeyboardInterrupt):
        evaluation.run()
    for function in ("flags", "verify_photos", "blind_gate"):
        monkeypatch.setattr(standard, function, lambda *_a, **_k: pytest.fail("computed a second time"))
    loaded = []
    load = type(evaluation.populations.queried).load
    monkeypatch.setattr(
        type(evaluation.populations.queried), "load", lambda self, index: loaded.append(len(index)) or load(self, index)
    )
    epochs: list = []
    record = replace(evaluation, training=epochs.append).run()
    assert record.fingerprint == reference.fingerprint
    assert ran[:3] == [r.label for r in record.membership[:3]]
    assert ran[3:] == [r.label for r in record.membership[2:]]
    assert not epochs, "no shadow was trained a second time"
    assert sum(loaded) <= 20, "signals come from the cache; public photos alone are read to estimate statistics"


def test_a_finished_evaluation_only_reads(reference, evaluation, monkeypatch):
    first = evaluation.run()
    for function in ("flags", "verify_photos", "blind_gate", "gather", "run_attack"):
        monkeypatch.setattr(standard, function, lambda *_a, **_k: pytest.fail("computed a second time"))
    again = evaluation.run()
    assert again.fingerprint == first.fingerprint == reference.fingerprint
    assert again.provenance.seconds == first.provenance.seconds


def test_nothing_half_is_left_behind(evaluation, monkeypatch):
    monkeypatch.setattr(standard, "run_attack", lambda *_a, **_k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        evaluation.run()
    left = [p for p in evaluation.cache.rglob("*") if p.suffix in (".part", ".partial") or p.name.startswith(".")]
    assert left == []


def test_a_corrected_card_is_evaluated_anew(flow, evaluation, tmp_path):
    """The same weights under another card: what depends on the card is not taken from the first."""
    evaluation.run()
    other = replace(evaluation, submission=relabelled(flow, tmp_path / "other", track="synthetic-quick"))
    assert [f.name for f in other.run().flags] == ["other_track"]
    assert evaluation.run().flags == ()


@pytest.mark.slow
def test_a_killed_process_is_resumed_by_the_next(tmp_path):
    """kill -9 of ``faceveil evaluate`` while it runs, at several moments, and once to the end."""
    environment = os.environ | {"FACEVEIL_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    entry = str(tmp_path / "entry")
    faceveil = command()
    subprocess.run([*faceveil, "train", "--track", FLOW.name, "--out", entry], env=environment, check=True)
    arguments = [*faceveil, "evaluate", entry, "--track", FLOW.name, "--json"]
    pieces = tmp_path / "home" / "cache" / "evaluations"
    for wanted in (1, 3, 5):
        process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list(pieces.rglob("*.json"))) < wanted:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    resumed = subprocess.run(arguments, env=environment, check=True, capture_output=True, text=True)
    shutil.rmtree(tmp_path / "home" / "cache")
    fresh = subprocess.run(arguments, env=environment, check=True, capture_output=True, text=True)
    first, second = (Record.model_validate(json.loads(done.stdout)) for done in (resumed, fresh))
    assert first.board == "verified"
    assert second.board == "weights", "with the cache went the note of who trained them"
    assert first.model_copy(update={"board": "weights"}).fingerprint == second.fingerprint


# A selection


def test_a_selection_is_incomplete_and_unranked(evaluation):
    record = evaluation.run([AttackSpec(name="regrown_head")])
    assert [r.label for r in record.membership] == ["regrown_head"]
    assert not record.complete
    assert "only some of the track's attacks were run" in record.unranked
    assert record.headline.leakage_attack == "regrown_head"


def test_what_a_selection_finished_serves_the_whole(evaluation, reference, monkeypatch):
    evaluation.run([AttackSpec(name="regrown_head", settings={"scale": 32.0})])  # spelled out: the same attack
    ran = []
    whole = standard.run_attack
    monkeypatch.setattr(standard, "run_attack", lambda spec, *a, **k: ran.append(spec.label) or whole(spec, *a, **k))
    assert evaluation.run().fingerprint == reference.fingerprint
    assert "regrown_head" not in ran


def test_a_typo_is_told_before_anything_is_computed(evaluation, monkeypatch):
    for function in ("flags", "verify_photos", "blind_gate"):
        monkeypatch.setattr(standard, function, lambda *_a, **_k: pytest.fail("computed before the names were read"))
    with pytest.raises(UnknownPluginError, match="Did you mean 'regrown_head'"):
        evaluation.run([AttackSpec(name="regrown_haed")])
    with pytest.raises(FaceVeilError, match="did you mean 'scale'"):
        evaluation.run([AttackSpec(name="regrown_head", settings={"scales": 3})])


# What does not apply, fails, or does not count


def test_without_batchnorm_the_attack_is_not_applicable_never_a_half(flow, evaluation, tmp_path):
    backbone = BackboneSpec(name="iresnet_slim", kwargs={"width": 0.125, "embedding_size": 16, "norm": "group"})
    grouped = make_submission(
        flow.populations,
        UNDEFENDED,
        flow.populations.seen,
        seed=0,
        out=tmp_path / "grouped",
        work=tmp_path,
        backbone=backbone,
    )
    record = replace(evaluation, submission=grouped).run()
    by_label = {r.label: r for r in record.membership}
    for label in ("bn_distance", "bn_distance(knowledge=auxiliary)", "bn_distance(statistics=auxiliary)"):
        assert by_label[label].status == "not_applicable"
        assert "no BatchNorm statistics" in by_label[label].reason
        assert "feature_means" in by_label[label].reason
        assert by_label[label].contrasts == {}
    assert by_label["regrown_head"].status == "ok"
    assert record.complete
    assert record.headline.leakage_attack in ("regrown_head", "embedding_norm")


def test_an_unknown_defence_is_not_adaptively_tested(flow, evaluation, tmp_path):
    foreign = relabelled(flow, tmp_path / "foreign", defenses=(DefenseSpec(name="secret_sauce", settings={"x": 1}),))
    record = replace(evaluation, submission=foreign).run()
    assert any("not adaptively tested" in reason for reason in record.unranked)
    assert record.defenses == {}
    assert not any(r.adaptive for r in record.membership)
    by_label = {r.label: r for r in record.membership}
    assert by_label["bn_distance(knowledge=auxiliary)"].status == "not_applicable", "nobody can train its shadows"
    assert by_label["bn_distance"].status == "ok"


def test_a_known_defence_with_settings_that_it_does_not_have_is_refused(flow, evaluation, tmp_path):
    wrong = relabelled(flow, tmp_path / "wrong", defenses=(DefenseSpec(name="bn_perturbation", settings={"rhoo": 1}),))
    with pytest.raises(FaceVeilError, match="did you mean 'rho'"):
        replace(evaluation, submission=wrong).run()


def test_a_defence_brings_its_own_attacks_and_shadows(flow, evaluation):
    perturbed = flow.train(PERTURBED, name="perturbed")
    epochs: list = []
    record = replace(evaluation, submission=perturbed, training=epochs.append).run()
    adaptive = {r.label for r in record.membership if r.adaptive}
    assert {"bn_distance(statistics=auxiliary)", "bn_distance(statistic=mean_var, statistics=auxiliary)"} <= adaptive
    assert record.unranked == ()
    assert len(epochs) == flow.track.training.epochs, "the undefended shadow of the gate serves the defence, too"


class Headful(MembershipAttack):
    """Reads the planted answer: holds the training head."""

    name: ClassVar[str] = "headful"
    summary: ClassVar[str] = "Cheats."
    reference: ClassVar[Reference] = Reference(title="none")
    access: ClassVar[Access] = Access.HEAD
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE,)

    def requests(self) -> tuple[SignalRequest, ...]:
        return (EMBEDDING,)

    def score(self, signals) -> np.ndarray:
        return -np.arange(len(signals), dtype=float)  # seen photos stand first


class Broken(Headful):
    """Returns no numbers."""

    name: ClassVar[str] = "broken"
    access: ClassVar[Access] = Access.EMBEDDING
    knowledge: Knowledge = Knowledge.AUXILIARY

    def score(self, signals) -> np.ndarray:
        return np.full(len(signals), np.nan)


def test_an_attack_with_the_head_is_shown_but_never_the_headline(evaluation, plugin_table):
    plugin_table(Headful)
    record = evaluation.run([AttackSpec(name="headful"), AttackSpec(name="regrown_head")])
    cheat = record.membership[0].contrasts[Contrast.SAMPLE].metrics["auc"]
    assert cheat.value == 1.0
    assert record.headline.leakage_attack == "regrown_head"
    assert evaluation.run([AttackSpec(name="headful")]).headline is None


def test_a_failing_attack_leaves_the_entry_unranked_with_the_reason(flow, evaluation, plugin_table):
    plugin_table(Broken)
    track = flow.track.model_copy(update={"attacks": (AttackSpec(name="broken"), AttackSpec(name="regrown_head"))})
    record = replace(evaluation, populations=replace(flow.populations, track=track)).run()
    assert record.membership[0].status == "failed"
    assert not record.complete
    assert any("attack broken failed" in reason and "not finite" in reason for reason in record.unranked)
    assert record.headline.leakage_attack != "broken"


def test_a_failed_gate_is_shown_and_unranked(evaluation, monkeypatch):
    whole = standard.blind_gate
    monkeypatch.setattr(standard, "blind_gate", lambda *a, **k: whole(*a, **k).model_copy(update={"valid": False}))
    record = evaluation.run([AttackSpec(name="regrown_head")])
    assert not record.gate.valid
    assert any("blind gate failed" in reason for reason in record.unranked)


def test_a_red_flag_leaves_the_entry_unranked(flow, evaluation, tmp_path):
    backbone = flow.submission.backbone()
    for module in backbone.modules():
        if hasattr(module, "reset_running_stats"):
            module.reset_running_stats()
    spoilt = pack(tmp_path / "spoilt", flow.submission.card, backbone)
    record = replace(evaluation, submission=spoilt).run([AttackSpec(name="regrown_head")])
    assert "bn_never_updated" in {f.name for f in record.flags}
    assert any("statistics of initialisation" in reason for reason in record.unranked)


def test_fine_tuned_weights_want_their_start(flow, evaluation, tmp_path):
    tuned = relabelled(flow, tmp_path / "tuned", initialised_from="a public backbone")
    with pytest.raises(FaceVeilError, match=r"fine-tuned from 'a public backbone'.*--init"):
        replace(evaluation, submission=tuned).run()


# Which board


def test_only_weights_that_were_trained_here_are_verified(fresh_home, tmp_path):
    session = Session(FLOW, None, "cpu", progress=Silent())
    trained = session.train(UNDEFENDED, 0, tmp_path / "entry", {"team": "us"})
    specs = [AttackSpec(name="regrown_head")]
    assert session.evaluate(trained, specs).board == "verified"
    copied = load_submission(shutil.copytree(tmp_path / "entry", tmp_path / "copy"))
    assert session.evaluate(copied, specs).board == "verified"
    renamed = pack(tmp_path / "renamed", trained.card.model_copy(update={"name": "ours"}), trained.backbone())
    assert session.evaluate(renamed, specs).board == "verified"
    claimed = trained.card.model_copy(update={"defenses": (DefenseSpec(name="early_stopping"),)})
    assert session.evaluate(pack(tmp_path / "claimed", claimed, trained.backbone()), specs).board == "weights"
    other = trained.backbone()
    other.fc.weight.data *= 1.5
    assert session.evaluate(pack(tmp_path / "other", trained.card, other), specs).board == "weights"


def test_weights_trained_on_another_split_are_not_verified_here(flow, tmp_path):
    elsewhere = replace(flow.populations, track=flow.track.model_copy(update={"split_seed": 9}))
    note_trained_here(tmp_path / "cache", flow.submission, elsewhere)
    assert Evaluation(flow.submission, flow.populations, tmp_path / "cache").board == "weights"
    note_trained_here(tmp_path / "cache", flow.submission, flow.populations)
    assert Evaluation(flow.submission, flow.populations, tmp_path / "cache").board == "verified"
