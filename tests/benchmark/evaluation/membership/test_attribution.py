from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny_world import FLOW
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.evaluation import findings
from benchmark.evaluation.membership.attribution import ATTACKS, DISTANCES, Subject, attribute, compare
from benchmark.evaluation.membership.attribution_text import read
from benchmark.interfaces import BackboneSpec, FaceVeilError
from benchmark.metrics.roc import auc
from benchmark.protocol.tracks import TRACKS
from benchmark.records.results import Attribution, AttributionRow, Metric
from leaderboard.charts.attribution import chart, save


@pytest.fixture(scope="module")
def found(flow):
    return attribute(Subject(flow.submission, flow.populations, flow.folder / "attribution"))


def row(question, value, low, high, *, attack="BN distance, mean", case="trained statistics", contrast="sample", lost=None):
    def metric(value, low, high):
        return Metric(value=value, low=low, high=high, n=50)

    difference = metric(*lost) if lost else None
    return AttributionRow(
        question=question, attack=attack, case=case, contrast=contrast, auc=metric(value, low, high), difference=difference
    )


def test_every_question_is_asked(found):
    of = {q: [r for r in found.rows if r.question == q] for q in ("statistics", "order", "unrelated_models")}
    assert {r.attack for r in of["statistics"]} == set(ATTACKS)
    assert {r.attack for r in of["order"]} == {r.attack for r in of["unrelated_models"]} == set(DISTANCES)
    assert {r.contrast for r in of["statistics"]} == {"sample", "identity"}
    assert {r.contrast for r in of["order"]} == {"last 1 of 2 batches (10% of a statistic) against earlier"}
    assert {r.case for r in of["unrelated_models"]} == {"untrained"}
    assert found.left_out == {}
    assert len(found.reading) == len(ATTACKS) + 2
    for r in found.rows:
        assert r.auc.n > 0
        assert "against" in r.auc.note
        assert (r.difference is None) == (r.case == "trained statistics" or r.question != "statistics")


def test_the_same_submission_says_the_same_again(found, flow):
    assert attribute(Subject(flow.submission, flow.populations, flow.folder / "attribution")) == found


def test_what_cannot_be_asked_is_left_out_with_its_reason(flow):
    subject = Subject(flow.submission, flow.populations, flow.folder / "attribution", order_known=False)
    refused = attribute(subject)
    assert "--trust-card" in refused.left_out["order"]
    assert not [r for r in refused.rows if r.question == "order"]
    without = BackboneSpec(name=FLOW.backbone.name, kwargs={**FLOW.backbone.kwargs, "norm": "group"})
    populations = replace(flow.populations, track=FLOW.model_copy(update={"backbone": without}))
    grouped = replace(flow, folder=flow.folder / "grouped")
    grouped.__dict__["populations"] = populations
    found = attribute(Subject(grouped.train(), populations, flow.folder / "attribution"))
    assert set(found.left_out) == {"statistics", "order", "unrelated_models"}
    assert "no BatchNorm statistics" in found.left_out["statistics"]
    assert (found.rows, found.reading) == ((), ())


def test_differences_are_those_of_the_areas_and_paired():
    rng = np.random.default_rng(0)
    label, identity = np.tile([1, 0], 100), np.repeat(np.arange(50), 4)
    first = rng.normal(size=200) + label
    noisy = first + 0.01 * rng.normal(size=200)
    one, other = compare("statistics", "a", "sample", {"first": first, "noisy": noisy}, label, identity)
    assert one.difference is None
    assert one.auc.value == pytest.approx(auc(first, label))
    assert other.difference.value == pytest.approx(auc(noisy, label) - auc(first, label))
    assert other.difference.high - other.difference.low < (one.auc.high - one.auc.low) / 4, "the same people in both"
    assert one.auc.note == "100 against 100 photos"


def test_the_reading_follows_the_numbers():
    trained = row("statistics", 0.7, 0.65, 0.75)
    public = {"case": "public statistics"}
    kept_ = row("statistics", 0.695, 0.645, 0.745, lost=(-0.005, -0.02, 0.01), **public)
    gone = row("statistics", 0.6, 0.55, 0.65, lost=(-0.1, -0.12, -0.08), **public)
    assert "the weights leak, not the statistics (at most 10% of it" in read([trained, kept_])[0]
    assert "about 50% of the leak sits in the statistics" in read([trained, gone])[0]
    nothing = row("statistics", 0.52, 0.49, 0.55)
    assert "nothing to attribute" in read([nothing, kept_])[0]
    order = [row("order", 0.51, 0.48, 0.54), row("order", 0.62, 0.58, 0.66)]
    assert read(order[:1])[0].startswith("The last batches show no more")
    (loud,) = read(order)
    assert loud.startswith("The last batches show: of 2 intervals 1 lie above 0.5 and 0 below")
    assert "0.620" in loud
    assert "0 lie above 0.5 and 1 below" in read([row("order", 0.4, 0.35, 0.45)])[0]
    assert read([]) == ()


def test_the_picture_holds_every_row(found, tmp_path):
    spec = chart(found).to_dict()
    assert len(spec["vconcat"]) == 3
    drawn = sum(len(data) for data in spec["datasets"].values() if "attack" in data[0])
    assert drawn == len(found.rows)
    save(found, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["vconcat"]
    save(found, tmp_path / "a.html")
    assert "vega" in (tmp_path / "a.html").read_text()
    with pytest.raises(FaceVeilError, match=r"write \.html"):
        save(found, tmp_path / "a.gif")
    with pytest.raises(FaceVeilError, match="no row to draw"):
        save(Attribution(rows=()), tmp_path / "b.json")


def test_findings_wait_for_their_record(found, tmp_path, fresh_home):
    assert findings.as_record_fields(tmp_path, "x", "t") == {"audit": None, "attribution": None}
    assert findings.save(tmp_path, "x", "t", found) == {"attribution": found}
    assert findings.load(tmp_path, "x", "t").attribution == found
    assert findings.load(tmp_path, "x", "other").attribution is None


def test_the_command_prints_tables_and_puts_them_into_the_record(flow, tmp_path, fresh_home, monkeypatch):
    monkeypatch.setitem(TRACKS, FLOW.name, FLOW)

    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output or result.exception
        return result

    entry = flow.submission.path
    attribute_ = ["attribute", entry, "--track", FLOW.name, "--device", "cpu", "--trust-card"]
    text = run(*attribute_, "--plot", tmp_path / "a.json")
    assert "never saw" in text.stdout
    assert "against 12 photos" in text.stdout
    assert (tmp_path / "a.json").exists()
    document = json.loads(run(*attribute_, "--json").stdout)
    assert len(document["rows"]) == 24
    record = json.loads(run("evaluate", entry, "--track", FLOW.name, "--device", "cpu", "--json").stdout)
    assert record["attribution"] == document
    refused = CliRunner().invoke(app, [*map(str, attribute_), "--plot", "a.gif"])
    assert isinstance(refused.exception, FaceVeilError)
