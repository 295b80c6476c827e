from __future__ import annotations

import hashlib
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

from benchmark.data.memberships import SEEN
from benchmark.evaluation import plan, standard
from benchmark.evaluation.entry import Entry
from benchmark.evaluation.membership import blind_gate, scene, score_metrics, tasks
from benchmark.evaluation.membership.evidence import asked_about
from benchmark.evaluation.standard import Evaluation
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
from benchmark.records.results import Gate
from benchmark.runtime.executor import Engine
from benchmark.service.store import Outcome, Store
from benchmark.signals.answers import Embedding
from benchmark.submissions.cached import kept
from benchmark.submissions.submission import pack
from benchmark.training.build import make_submission

UNDEFENDED = DefenseSpec(name="undefended")
PERTURBED = DefenseSpec(name="bn_perturbation", settings={"rho": 0.5})
EMBEDDING = Embedding()


@pytest.fixture(scope="module", autouse=True)
def few_replicates():
    """Intervals are tested elsewhere; here they are only to be the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_metrics, "REPLICATES", 100)
        yield


@pytest.fixture(scope="module")
def reference(flow, tmp_path_factory) -> Record:
    """The record of the undefended flow population, never interrupted."""
    return Evaluation(flow.entry(), flow.populations, tmp_path_factory.mktemp("cache")).run()


@pytest.fixture
def evaluation(flow, tmp_path) -> Evaluation:
    return Evaluation(flow.entry(), flow.populations, tmp_path / "cache")


def of_one(evaluation, submission) -> Evaluation:
    """The same evaluation of weights from outside: one target, the flow world's others its shadows."""
    entry = evaluation.entry
    models = (submission, *entry.models[1:])
    return replace(evaluation, entry=Entry(models, (0,), submission, "weights", "undefended"))


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


def test_every_backbone_is_a_target_in_its_turn(reference, flow):
    """Three backbones: rates are over all of them, by ranks where scores of different targets do not compare."""
    assert len(reference.population) == reference.headline.targets == flow.track.population == 3
    assert reference.shadows == "same_defense"
    assert reference.population[0] == reference.provenance.submission_id
    for attack in reference.membership:
        for result in attack.contrasts.values():
            assert result.targets == len(result.auc_by_target) == 3
            assert result.pooling.startswith("scores pooled")
    assert "mean over 3 targets" in reference.utility["auc"].method


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
    "checks": (plan, "flags", 1),
    "first utility": (tasks, "verify_photos", 1),
    "third utility": (tasks, "verify_photos", 3),
    "gate": (blind_gate, "run_contrast", 2),
    "signals": (scene, "read_models", 1),
    "first attack": (tasks, "score_target", 1),
    "an attack's second target": (tasks, "score_target", 5),
    "an attack's result": (tasks, "summarise", 2),
    "scores of the second attack": (tasks, "save_scores", 2),
    "headline": (standard, "membership_headline", 1),
}


def interrupt(patch, module, function, at):
    """Makes the ``at``-th call of a function an interruption; returns what was called before."""
    whole, calls = getattr(module, function), []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == at:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    patch.setattr(module, function, interrupted)
    return calls


@pytest.fixture(autouse=True)
def another_process():
    """What a process keeps open does not outlive it."""
    scene._open.clear()
    yield
    scene._open.clear()


@pytest.mark.parametrize("stage", STAGES)
def test_interrupted_anywhere_it_ends_in_the_same_record(stage, reference, evaluation, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, *STAGES[stage])
        with pytest.raises(KeyboardInterrupt):
            evaluation.run()
    scene._open.clear()
    assert evaluation.run().fingerprint == reference.fingerprint


def test_what_was_finished_is_not_computed_again(reference, evaluation, monkeypatch):
    """Interrupted in the third attack: checks, utility, gate, signals, two attacks and one target stay done."""
    with monkeypatch.context() as patch:
        before = interrupt(patch, tasks, "score_target", 8)
        with pytest.raises(KeyboardInterrupt):
            evaluation.run()
    scene._open.clear()
    monkeypatch.setattr(plan, "flags", lambda *_a, **_k: pytest.fail("computed a second time"))
    monkeypatch.setattr(tasks, "verify_photos", lambda *_a, **_k: pytest.fail("computed a second time"))
    monkeypatch.setattr(blind_gate, "run_contrast", lambda *_a, **_k: pytest.fail("computed a second time"))
    loaded, ran = [], []
    load = type(evaluation.populations.queried).load
    monkeypatch.setattr(
        type(evaluation.populations.queried), "load", lambda self, index: loaded.append(len(index)) or load(self, index)
    )
    whole = tasks.score_target
    monkeypatch.setattr(tasks, "score_target", lambda spec, evidence: ran.append(spec.label) or whole(spec, evidence))
    epochs: list = []
    record = replace(evaluation, training=epochs.append).run()
    assert record.fingerprint == reference.fingerprint
    assert len(ran) == 3 * len(record.membership) - 7
    assert before[-1][0].label == ran[0] == record.membership[2].label
    assert not epochs, "no shadow was trained a second time"
    assert sum(loaded) <= 60, "signals come from the cache; reference photos alone are read to estimate statistics"


def test_a_finished_evaluation_only_reads(reference, evaluation, monkeypatch):
    first = evaluation.run()
    monkeypatch.setattr(plan, "flags", lambda *_a, **_k: pytest.fail("computed a second time"))
    for function in ("verify_photos", "score_target", "summarise"):
        monkeypatch.setattr(tasks, function, lambda *_a, **_k: pytest.fail("computed a second time"))
    again = evaluation.run()
    assert again.fingerprint == first.fingerprint == reference.fingerprint
    assert again.provenance.seconds == first.provenance.seconds


def test_in_several_processes_it_is_the_same_record(reference, evaluation):
    with Engine(workers=2) as engine:
        record = replace(evaluation, engine=engine).run()
    assert record.headline == reference.headline
    found, expected = ([c.scores_sha256 for a in r.membership for c in a.contrasts.values()] for r in (record, reference))
    assert found == expected


def test_nothing_half_is_left_behind(evaluation, monkeypatch):
    monkeypatch.setattr(tasks, "score_target", lambda *_a, **_k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        evaluation.run()
    found = list(evaluation.cache.rglob("*"))
    seals = {p for p in found if p.name.startswith(".") and p.suffix == ".sha256"}
    assert seals
    for path in seals:  # a checksum stands beside what is whole, alone: a file, or a backbone's folder
        sealed = path.with_name(path.name.removeprefix(".").removesuffix(".sha256"))
        if sealed.is_dir():
            assert kept(sealed) is not None
        else:
            assert hashlib.sha256(sealed.read_bytes()).hexdigest() == path.read_text().strip()
    left = [p for p in found if p.suffix in (".part", ".partial") or (p.name.startswith(".") and p not in seals)]
    assert left == []


def test_a_corrected_card_is_evaluated_anew(flow, evaluation, tmp_path):
    """The same weights under another card: what depends on the card is not taken from the first."""
    evaluation.run()
    other = of_one(evaluation, relabelled(flow, tmp_path / "other", track="synthetic-quick"))
    assert [f.name for f in other.run().flags] == ["other_track"]
    assert evaluation.run().flags == ()


def test_a_submission_that_changes_on_disk_meanwhile_is_refused(flow, evaluation, tmp_path):
    own = relabelled(flow, tmp_path / "entry")
    changing = of_one(evaluation, own)
    shutil.rmtree(tmp_path / "entry")
    backbone = own.backbone()
    backbone.fc.weight.data *= 1.5
    pack(tmp_path / "entry", own.card, backbone)
    with pytest.raises(FaceVeilError, match="changed while it was evaluated"):
        changing.run()


def test_one_target_from_outside_is_judged_on_the_canonical_split(flow, evaluation, reference, tmp_path):
    record = of_one(evaluation, relabelled(flow, tmp_path / "entry", name="from outside")).run()
    assert record.headline.targets == 1
    assert record.headline.exposed is None
    assert (record.board, record.shadows) == ("weights", "undefended")
    assert all(c.targets == 1 and c.pooling == "" for a in record.membership for c in a.contrasts.values())
    ours = {a.label: a for a in record.membership}["regrown_head"].contrasts[Contrast.SAMPLE]
    theirs = {a.label: a for a in reference.membership}["regrown_head"].contrasts[Contrast.SAMPLE]
    assert ours.metrics["auc"].value == pytest.approx(theirs.auc_by_target[0], abs=1e-5)


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
    whole = tasks.score_target
    monkeypatch.setattr(tasks, "score_target", lambda spec, evidence: ran.append(spec.label) or whole(spec, evidence))
    assert evaluation.run().fingerprint == reference.fingerprint
    assert "regrown_head" not in ran


def test_a_typo_is_told_before_anything_is_computed(evaluation, monkeypatch):
    monkeypatch.setattr(plan, "flags", lambda *_a, **_k: pytest.fail("computed before the names were read"))
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
    record = of_one(evaluation, grouped).run()
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
    record = of_one(evaluation, foreign).run()
    assert any("not adaptively tested" in reason for reason in record.unranked)
    assert record.defenses == {}
    assert not any(r.adaptive for r in record.membership)
    by_label = {r.label: r for r in record.membership}
    assert by_label["bn_distance(knowledge=auxiliary)"].status == "not_applicable", "nobody can train its shadows"
    assert by_label["bn_distance"].status == "ok"


def test_a_known_defence_with_settings_that_it_does_not_have_is_refused(flow, evaluation, tmp_path):
    wrong = relabelled(flow, tmp_path / "wrong", defenses=(DefenseSpec(name="bn_perturbation", settings={"rhoo": 1}),))
    with pytest.raises(FaceVeilError, match="did you mean 'rho'"):
        of_one(evaluation, wrong).run()


def test_a_defence_brings_its_own_attacks_and_shadows(flow, evaluation):
    perturbed = flow.train(PERTURBED, name="perturbed")
    epochs: list = []
    record = replace(of_one(evaluation, perturbed), training=epochs.append).run()
    adaptive = {r.label for r in record.membership if r.adaptive}
    assert {"bn_distance(statistics=auxiliary)", "bn_distance(statistic=mean_var, statistics=auxiliary)"} <= adaptive
    assert record.unranked == ()
    assert len(epochs) == flow.track.training.epochs, "the undefended shadow of the gate serves the defence, too"


class Headful(MembershipAttack):
    """Knows the answer."""

    name: ClassVar[str] = "headful"
    summary: ClassVar[str] = "Cheats."
    reference: ClassVar[Reference] = Reference(title="none")
    access: ClassVar[Access] = Access.HEAD
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE,)
    answer: ClassVar[np.ndarray] = np.zeros(0)

    def requests(self) -> tuple[SignalRequest, ...]:
        return (EMBEDDING,)

    def score(self, signals) -> np.ndarray:
        return self.answer.astype(float)


class Broken(Headful):
    """Returns no numbers."""

    name: ClassVar[str] = "broken"
    access: ClassVar[Access] = Access.EMBEDDING
    knowledge: Knowledge = Knowledge.AUXILIARY

    def score(self, signals) -> np.ndarray:
        return np.full(len(signals), np.nan)


def test_an_attack_with_the_head_is_shown_but_never_the_headline(flow, evaluation, plugin_table, monkeypatch):
    plugin_table(Headful)
    evaluation, p = of_one(evaluation, flow.submission), flow.populations
    monkeypatch.setattr(Headful, "answer", p.side[asked_about(p, Contrast.SAMPLE)] == SEEN)
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


def test_a_contrast_that_fails_the_gate_is_out_of_the_headline(evaluation, monkeypatch):
    whole = blind_gate.BlindGate.run

    def told(self, attacks, invalid):
        gate = whole(self, attacks)
        probes = tuple(p.model_copy(update={"invalid": p.contrast in invalid}) for p in gate.probes)
        return Gate(valid=len(invalid) < 2, probes=probes)

    spec = [AttackSpec(name="regrown_head")]
    strongest = evaluation.run(spec).headline.leakage_contrast
    (other,) = {Contrast.SAMPLE, Contrast.IDENTITY} - {strongest}
    monkeypatch.setattr(blind_gate.BlindGate, "run", lambda self, attacks: told(self, attacks, (strongest,)))
    record = evaluation.run(spec)
    assert record.headline.leakage_contrast == other
    assert strongest in record.membership[0].contrasts, "shown all the same"
    assert not any("blind gate failed" in reason for reason in record.unranked)
    monkeypatch.setattr(blind_gate.BlindGate, "run", lambda self, attacks: told(self, attacks, (strongest, other)))
    record = evaluation.run(spec)
    assert record.headline is None
    assert any("blind gate failed" in reason for reason in record.unranked)


def test_a_red_flag_leaves_the_entry_unranked(flow, evaluation, tmp_path):
    backbone = flow.submission.backbone()
    for module in backbone.modules():
        if hasattr(module, "reset_running_stats"):
            module.reset_running_stats()
    spoilt = pack(tmp_path / "spoilt", flow.submission.card, backbone)
    record = of_one(evaluation, spoilt).run([AttackSpec(name="regrown_head")])
    assert "bn_never_updated" in {f.name for f in record.flags}
    assert any("statistics of initialisation" in reason for reason in record.unranked)
