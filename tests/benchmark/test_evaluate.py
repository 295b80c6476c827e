"""One evaluation on the flow track: resumed after any interruption, and honest about what it could not do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from tiny_world import UNDEFENDED, command

from benchmark import evaluate, membership
from benchmark.evaluate import Evaluation
from benchmark.interfaces import (
    Access,
    AttackSpec,
    BackboneSpec,
    Contrast,
    DefenseSpec,
    FaceVeilError,
    MembershipAttack,
    Reference,
    SignalRequest,
)
from benchmark.making import make_submission
from benchmark.membership import load_scores
from benchmark.protocol import TrainingConfig
from benchmark.record import Record
from benchmark.submission import pack
from benchmark.verified import note_trained_here

ATTACKS = 5  # four of the track, one of the undefended reference


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Shared by the tests that do not interrupt: gates and shadows are trained once."""
    return tmp_path_factory.mktemp("evaluations")


@pytest.fixture(scope="module")
def evaluation(flow, cache) -> Evaluation:
    return Evaluation(flow.submission, flow.populations, cache)


@pytest.fixture(scope="module")
def record(evaluation) -> Record:
    """The uninterrupted evaluation."""
    return evaluation.run()


def finished(work: Path) -> list[str]:
    return sorted(path.name for path in work.glob("attack-*.json"))


def with_card(submission, **fields):
    return replace(submission, card=submission.card.model_copy(update=fields))


# What a record holds


def test_every_attack_has_a_result_and_its_scores(evaluation, record):
    assert record.complete
    assert record.unranked == ()
    assert [a.status for a in record.membership] == ["ok"] * ATTACKS
    assert [a.adaptive for a in record.membership] == [False] * 4 + [True]
    assert record.headline is not None
    assert record.headline.leakage_attack in {a.label for a in record.membership}
    kept = {s.sha256 for path in evaluation.work.glob("attack-*.npz") for s in load_scores(path).values()}
    assert kept == {c.scores_sha256 for a in record.membership for c in a.contrasts.values()}
    assert set(record.attacks) == {a.spec.name for a in record.membership}
    assert set(record.defenses) == {"undefended"}
    assert record.extra == {"smoke": True}


def test_a_record_survives_json(record):
    again = Record.model_validate_json(record.model_dump_json())
    assert again == record
    assert again.fingerprint == record.fingerprint


def test_the_fingerprint_ignores_costs_alone(record):
    provenance = record.provenance.model_copy(update={"seconds": 1e6, "created": "2000-01-01T00:00:00+00:00"})
    assert record.model_copy(update={"provenance": provenance}).fingerprint == record.fingerprint
    other = record.provenance.model_copy(update={"split_digest": "another"})
    assert record.model_copy(update={"provenance": other}).fingerprint != record.fingerprint


# Resuming


def test_an_interrupted_evaluation_goes_on_where_it_stopped(flow, record, tmp_path, monkeypatch):
    evaluation = Evaluation(flow.submission, flow.populations, tmp_path)
    calls = []

    def interrupted(spec, *args, **kwargs):
        calls.append(spec.label)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return membership.run_attack(spec, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "run_attack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluation.run()
    assert len(finished(evaluation.work)) == 1
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    shadows = sorted(path.name for path in (tmp_path / "shadows").iterdir())

    again = []
    monkeypatch.setattr(
        evaluate, "run_attack", lambda spec, *a, **k: again.append(spec.label) or membership.run_attack(spec, *a, **k)
    )
    for name in ("verify_photos", "blind_gate", "flags"):
        monkeypatch.setattr(evaluate, name, lambda *a, name=name, **k: pytest.fail(f"{name} was computed again"))
    resumed = evaluation.run()

    assert len(calls) == 2
    assert len(again) == ATTACKS - 1
    assert calls[0] not in again
    assert resumed.fingerprint == record.fingerprint
    assert sorted(path.name for path in (tmp_path / "shadows").iterdir()) == shadows
    costs = {evaluation.work / "signals.json"}  # what gathering took the last time
    assert all(path.stat().st_mtime_ns == when for path, when in before.items() if path not in costs)


def test_a_finished_evaluation_computes_nothing(evaluation, record, monkeypatch):
    for name in ("run_attack", "verify_photos", "blind_gate", "flags", "gather"):
        monkeypatch.setattr(evaluate, name, lambda *a, name=name, **k: pytest.fail(f"{name} was computed again"))
    again = evaluation.run()
    assert again.fingerprint == record.fingerprint
    assert again.provenance.seconds == record.provenance.seconds > 0


def test_a_killed_evaluation_goes_on_where_it_stopped(flow, record, tmp_path):
    environment = os.environ | {"FACEVEIL_HOME": str(tmp_path), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    out = tmp_path / "record.json"
    arguments = ["evaluate", str(flow.submission.path), "--track", flow.track.name, "--device", "cpu", "--out", str(out)]

    def start() -> subprocess.Popen:
        return subprocess.Popen(
            [*command(), *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    process = start()
    while not list(tmp_path.glob("cache/evaluations/*/attack-*.json")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    (work,) = (tmp_path / "cache" / "evaluations").iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in work.glob("attack-*.json")}
    assert 1 <= len(before) < ATTACKS
    assert not out.exists()

    process = start()
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert len(finished(work)) == ATTACKS
    assert all((work / name).stat().st_mtime_ns == when for name, when in before.items())
    assert Record.model_validate_json(out.read_text(encoding="utf-8")).fingerprint == record.fingerprint


# What keeps an entry from a rank


def test_a_selection_of_attacks_is_incomplete(evaluation, record):
    chosen = evaluation.run([AttackSpec(name="embedding_norm")])
    assert [a.label for a in chosen.membership] == ["embedding_norm"]
    assert not chosen.complete
    assert chosen.unranked == ("only some of the track's attacks were run",)
    full = next(a for a in record.membership if a.label == "embedding_norm")
    assert chosen.membership[0].contrasts == full.contrasts


def test_settings_written_out_name_the_same_attack_once(evaluation):
    plain = AttackSpec(name="bn_distance")
    written_out = AttackSpec(name="bn_distance", settings={"statistics": "stored", "statistic": "mean", "knowledge": "partial"})
    assert [a.label for a in evaluation.run([plain, written_out]).membership] == ["bn_distance"]


def test_without_batchnorm_the_bn_distance_has_no_number(flow, cache, tmp_path):
    backbone = BackboneSpec(name=flow.track.backbone.name, kwargs={**flow.track.backbone.kwargs, "norm": "group"})
    p = flow.populations
    submission = make_submission(p, UNDEFENDED, p.seen, seed=0, out=tmp_path / "group", work=tmp_path, backbone=backbone)
    assert submission.card.norm == "group"
    record = Evaluation(submission, p, cache).run()
    distances = [a for a in record.membership if a.spec.name == "bn_distance"]
    assert len(distances) == 3
    for attack in distances:
        assert attack.status == "not_applicable"
        assert "statistics=feature_means" in attack.reason
        assert attack.contrasts == {}
    others = [a for a in record.membership if a.spec.name != "bn_distance"]
    assert [a.status for a in others] == ["ok", "ok"]
    assert record.complete, "what does not apply was not left out"
    assert record.headline is not None
    assert not record.headline.leakage_attack.startswith("bn_distance")


class Broken(MembershipAttack):
    """Returns no numbers."""

    name: ClassVar[str] = "broken"
    summary: ClassVar[str] = "Fails."
    reference: ClassVar[Reference] = Reference(title="this test", where="here")
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE,)

    def requests(self):
        return (SignalRequest(layers="embedding"),)

    def score(self, signals):
        return np.full(len(signals), np.nan)


def test_a_failed_attack_is_named_and_leaves_the_record_incomplete(flow, cache, plugin_table):
    plugin_table(Broken)
    attacks = (AttackSpec(name="broken"), AttackSpec(name="embedding_norm"))
    populations = replace(flow.populations, track=flow.track.model_copy(update={"attacks": attacks}))
    record = Evaluation(flow.submission, populations, cache).run()
    assert record.membership[0].status == "failed"
    assert record.membership[0].contrasts == {}
    assert not record.complete
    (reason,) = record.unranked
    assert reason.startswith("attack broken failed:")
    assert "not finite" in reason


def test_a_defence_that_is_unknown_here_is_not_adaptively_tested(flow, cache, tmp_path):
    card = flow.submission.card.model_copy(update={"defenses": (DefenseSpec(name="secret_sauce"),)})
    submission = pack(tmp_path / "entry", card, flow.submission.backbone())
    record = Evaluation(submission, flow.populations, cache).run()
    assert record.unranked == ("not adaptively tested: no attack here knows this defence",)
    assert [a.adaptive for a in record.membership] == [False] * 4
    by_label = {a.label: a for a in record.membership}
    assert by_label["bn_distance"].status == "ok"
    assert by_label["bn_distance(knowledge=auxiliary)"].status == "not_applicable"
    assert record.defenses == {}


def test_a_card_of_another_track_is_flagged(flow, cache):
    record = Evaluation(with_card(flow.submission, track="synthetic-64"), flow.populations, cache).run()
    (flag,) = [f for f in record.flags if f.name == "other_track"]
    assert flag.severity == "warning"
    assert "'synthetic-64'" in flag.reason
    assert "'tiny-flow'" in flag.reason


# Where the weights come from


def test_verified_are_weights_that_were_trained_here_as_the_card_says(flow, evaluation, record, tmp_path):
    assert record.board == "weights"
    own = replace(evaluation, cache=Path(shutil.copytree(evaluation.cache, tmp_path / "cache")))
    note_trained_here(own.cache, flow.submission, flow.populations)
    verified = own.run()
    assert verified.board == "verified"
    assert verified.model_copy(update={"board": "weights"}).fingerprint == record.fingerprint
    for lie in ({"seed": 7}, {"defenses": (DefenseSpec(name="dp_sgd"),)}, {"initialised_from": "public weights"}):
        assert replace(own, submission=with_card(flow.submission, **lie)).board == "weights"
    renamed = with_card(flow.submission, name="another name", team="another team")
    assert replace(own, submission=renamed).board == "verified"
    other = replace(flow.populations, track=flow.track.model_copy(update={"split_seed": 1}))
    assert replace(own, populations=other).board == "weights"


def test_a_fine_tuned_entry_needs_its_initial_weights(flow, tmp_path):
    evaluation = Evaluation(with_card(flow.submission, initialised_from="public weights"), flow.populations, tmp_path)
    with pytest.raises(FaceVeilError, match=r"fine-tuned from 'public weights': pass those weights with --init"):
        evaluation.run()
    assert list(tmp_path.iterdir()) == [], "said before anything is computed"


def test_shadows_and_gate_of_a_fine_tuned_entry_start_from_its_initial_weights(flow, cache, tmp_path):
    track = flow.track.model_copy(update={"fine_tuning": TrainingConfig(epochs=1, batch_size=12, lr=0.01)})
    populations = replace(flow.populations, track=track)
    init = next(iter(flow.shadows())).submission
    tuned = make_submission(populations, UNDEFENDED, populations.seen, seed=0, out=tmp_path / "tuned", work=tmp_path, init=init)
    assert tuned.card.initialised_from == init.card.name
    assert tuned.card.training["epochs"] == 1
    epochs = []
    record = Evaluation(tuned, populations, cache, init=init, training=lambda report: epochs.append(report.epochs)).run()
    assert record.complete
    assert {p.classifier for p in record.gate.probes} >= {"untrained backbone", "public backbone", "initial weights"}
    assert 1 in epochs, "the shadow follows the schedule of fine-tuning"
