"""``faceveil train --canaries`` and ``faceveil audit``, and the record that shows what they found."""

from __future__ import annotations

import json

import pytest
from tiny_world import FLOW
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.tracks import TRACKS, get_track

TRAIN = ["train", "--track", "tiny-flow", "--device", "cpu", "--json"]


@pytest.fixture(autouse=True)
def track(monkeypatch):
    monkeypatch.setitem(TRACKS, FLOW.name, FLOW)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def document(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output or result.exception
    return json.loads(result.stdout)


def refusal(*arguments) -> str:
    result = invoke(*arguments)
    assert isinstance(result.exception, FaceVeilError), result.output
    return str(result.exception)


def test_from_canaries_to_the_record(tmp_path, fresh_home):
    entry, secret = tmp_path / "entry", tmp_path / "entry.canaries.json"
    made = document(*TRAIN, "--out", entry, "--canaries", 16)
    assert made["canaries"]["secret"] == str(secret)
    card = json.loads((entry / "card.json").read_text())
    assert card["track"] == "tiny-flow+canaries"
    assert card["canaries"] == {"unit": "photo", "kind": "mislabelled", "count": 16}
    assert "included" not in (entry / "card.json").read_text()
    assert secret.name not in {path.name for path in entry.iterdir()}

    audited = invoke("audit", entry, "--canaries", secret, "--device", "cpu", "--json")
    assert audited.exit_code == 0, audited.output
    found = json.loads(audited.stdout)
    assert "evaluate" in audited.stderr, "no record yet: says what writes it"
    assert {bound["method"] for bound in found["lower"]} == {"clopper_pearson", "one_run", "gaussian_one_run"}
    assert found["canaries"] == 16
    text = invoke("audit", entry, "--canaries", secret, "--device", "cpu").stdout
    assert "ceiling" in text
    assert "no epsilon is claimed" in text

    evaluate = ["evaluate", entry, "--device", "cpu", "--json", "--track"]
    record = document(*evaluate, "tiny-flow+canaries")
    assert record["audit"] == found
    assert record["unranked"] == []
    assert record["board"] == "verified"
    other = document(*evaluate, "tiny-flow")
    assert any("canaries" in reason for reason in other["unranked"]), "never in one ranking with the track itself"
    stored = document("store", "export", "--format", "json")
    assert {r["track"] for r in stored} == {"tiny-flow", "tiny-flow+canaries"}


@pytest.mark.slow
def test_an_audit_reaches_a_record_that_is_there_already(tmp_path, fresh_home):
    entry, secret = tmp_path / "entry", tmp_path / "entry.canaries.json"
    document(*TRAIN, "--out", entry, "--canaries", 8, "--canary-unit", "person", "--canary-seed", 5)
    document("evaluate", entry, "--track", "tiny-flow+canaries", "--device", "cpu", "--json")
    found = document("audit", entry, "--canaries", secret, "--device", "cpu", "--json")
    assert (found["unit"], found["kind"], found["seed"]) == ("person", "natural", 5)
    (stored,) = document("store", "export", "--format", "json")
    assert stored["audit"] == found


def test_the_secret_of_other_weights_is_refused_unless_as_a_control(tmp_path, fresh_home):
    entry, plain = tmp_path / "entry", tmp_path / "plain"
    document(*TRAIN, "--out", entry, "--canaries", 16)
    document(*TRAIN, "--out", plain)
    audit = ["audit", plain, "--canaries", tmp_path / "entry.canaries.json", "--device", "cpu", "--json"]
    assert "the secret of other weights" in refusal(*audit)
    found = document(*audit, "--control")
    assert found["control"]
    assert [bound["epsilon"] for bound in found["lower"]] == [0, 0, 0]


def test_wrong_canaries_cost_no_training(tmp_path, fresh_home):
    out = ["--out", tmp_path / "entry"]
    assert "one of mislabelled, blank" in refusal(*TRAIN, *out, "--canaries", 4, "--canary-kind", "yellow")
    assert "'photo' or 'person'" in refusal(*TRAIN, *out, "--canaries", 4, "--canary-unit", "crowd")
    assert not (tmp_path / "entry").exists()


def test_the_variant_is_another_track():
    plain, variant = get_track("tiny-flow"), get_track("tiny-flow+canaries")
    assert variant.name == "tiny-flow+canaries"
    assert variant.digest != plain.digest
    assert variant.training == plain.training
    with pytest.raises(FaceVeilError, match="Did you mean 'tiny-flow'"):
        get_track("tiny-flaw+canaries")
