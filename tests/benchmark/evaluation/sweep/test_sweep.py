from __future__ import annotations

import json
from dataclasses import replace
from typing import ClassVar

import pytest
from tiny_world import FLOW

from benchmark.evaluation.membership.scores import EVALUATION_VERSION
from benchmark.evaluation.sweep import sweep
from benchmark.evaluation.sweep.file import SweepFile, unroll
from benchmark.evaluation.sweep.summary import _trainings, estimate, rows
from benchmark.evaluation.sweep.sweep import DONE, FAILED, WAITING, Sweep
from benchmark.interfaces import AttackSpec, Defense, FaceVeilError, Reference
from benchmark.protocol.tracks import TRACKS
from benchmark.service.store import Store
from benchmark.submissions.submission import load_submission


class Silent:
    """A reporter that counts epochs, and raises at one of them where it is told to."""

    def __init__(self):
        self.epochs, self.steps, self.stop_at = 0, [], None

    def step(self, text):
        self.steps.append(text)

    def training(self, report):
        self.epochs += 1
        if self.epochs == self.stop_at:
            raise KeyboardInterrupt

    def tasks(self, status):
        pass


class Breaking(Defense):
    """Trains, and fails at release."""

    name: ClassVar[str] = "breaking"
    summary: ClassVar[str] = "Fails."
    reference: ClassVar[Reference] = Reference(title="a test")
    family: ClassVar[str] = "training"
    post_hoc: ClassVar[bool] = True

    def release(self, backbone, context):
        raise ZeroDivisionError("by design")

    def adaptive_attacks(self):
        return (AttackSpec(name="bn_distance"),)


@pytest.fixture(autouse=True)
def track(monkeypatch):
    monkeypatch.setitem(TRACKS, FLOW.name, FLOW)


def entries(*blocks, **options):
    content = {"track": FLOW.name, "shadows": 0, "entries": list(blocks)} | options
    return unroll(SweepFile.model_validate(content))


UNDEFENDED = {"defense": "undefended"}
NOISE = {"defense": "bn_perturbation", "set": {"rho": 0.3}}


def test_every_entry_is_trained_evaluated_stored_and_never_again(tmp_path, fresh_home, plugin_table, monkeypatch):
    plugin_table(Breaking)
    store, silent = Store(tmp_path / "store.db"), Silent()
    wanted = entries(UNDEFENDED, {"defense": "breaking"}, NOISE)
    told = []
    work = Sweep(wanted, tmp_path / "out", silent, save=store.add_record, on_status=lambda n, e, what: told.append((n, what)))
    work.check()
    first = work.run()
    assert [o.status for o in first] == [DONE, FAILED, DONE]
    assert first[1].reason == "ZeroDivisionError: by design"
    assert len(store.records()) == 2
    trained = silent.epochs
    assert trained == FLOW.training.epochs * FLOW.population, "the population; what is done to its weights reuses it"

    state = json.loads((tmp_path / "out" / "state.json").read_text())
    assert {s["entry"]: s["status"] for s in state.values()} == {
        "undefended": DONE, "breaking": FAILED, "bn_perturbation(rho=0.3)": DONE,
    }  # fmt: skip
    for outcome in (first[0], first[2]):
        submission = load_submission(work.place(outcome.entry) / "submission")
        assert outcome.record.provenance.submission_id == submission.submission_id, "what was attacked is what was hashed"
        assert outcome.record.board == "verified"
        assert outcome.record.track == f"{FLOW.name}[shadows=0]"
    assert first[0].record.provenance.submission_id != first[2].record.provenance.submission_id

    table = rows(first)
    assert table[0]["times_undefended"] == 1.0
    assert table[2]["times_undefended"] > 0.3, "the base's training counts, which is nearly all there is"
    assert first[0].record.card.training["processor_seconds"] > 0
    assert table[2]["training_seconds"] >= 0.75 * table[0]["training_seconds"] > 0
    assert table[1]["reason"]
    assert "utility" not in table[1]
    assert table[0]["sample"]["auc"][0] >= 0.4
    assert estimate([o.entry for o in first if o.status != DONE], first) < estimate(wanted, [])
    dear = []
    for outcome, spent in ((first[0], 2.0), (first[2], 10.0)):
        card = outcome.record.card.model_copy(update={"training": {"seconds": 1.0, "processor_seconds": spent}})
        dear.append(replace(outcome, record=outcome.record.model_copy(update={"card": card})))
    assert _trainings(first[2].entry, dear) == 5.0, "what was measured of the defence"
    assert _trainings(first[2].entry, []) == 1.0

    told.clear()
    again = Sweep(wanted, tmp_path / "out", silent, on_status=lambda n, e, what: told.append((n, what))).run()
    assert silent.epochs == trained
    assert [what for _, what in told if what == "done already"] == ["done already"] * 2
    assert again[0].record == first[0].record

    assert work.finished(first[0].entry) is not None
    monkeypatch.setattr(sweep, "EVALUATION_VERSION", EVALUATION_VERSION + 1)
    assert work.finished(first[0].entry) is None, "attacks have changed since"


def test_a_killed_run_goes_on_where_it_stopped(tmp_path, fresh_home):
    silent = Silent()
    silent.stop_at = 2
    wanted = entries(UNDEFENDED)
    with pytest.raises(KeyboardInterrupt):
        Sweep(wanted, tmp_path / "out", silent).run()
    assert not list((tmp_path / "out").glob("*/record.json"))
    silent.stop_at = None
    (outcome,) = Sweep(wanted, tmp_path / "out", silent).run()
    assert outcome.status == DONE
    assert silent.epochs == FLOW.population * FLOW.training.epochs, "both epochs were kept; then the others of the population"


def test_time_that_is_over_ends_it_in_good_order(tmp_path, fresh_home):
    silent = Silent()
    outcomes = Sweep(entries(UNDEFENDED, NOISE), tmp_path / "out", silent, minutes=0).run()
    assert [o.status for o in outcomes] == [WAITING, WAITING]
    assert silent.epochs == 0
    assert not (tmp_path / "out" / "state.json").exists()


def test_everything_is_refused_before_anything_is_trained(tmp_path, fresh_home):
    silent = Silent()
    wanted = [
        *entries(UNDEFENDED, {"defense": "norm_swap+bn_perturbation"}, {"defense": "dp_sgd", "head": "adaface"}),
        *entries(UNDEFENDED, track="faces-112"),
    ]
    with pytest.raises(FaceVeilError, match="the sweep is refused") as refusal:
        Sweep(wanted, tmp_path / "out", silent).check()
    message = str(refusal.value)
    assert "norm_swap + bn_perturbation: bn_perturbation acts on BatchNorm layers" in message
    assert "adaface head couples the photos" in message
    assert "pass --data PATH" in message
    assert silent.epochs == 0
