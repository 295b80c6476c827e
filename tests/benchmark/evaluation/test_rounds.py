"""An evaluation in a round: the record says so, and whoever holds the revealed secret gets it again."""

from __future__ import annotations

import pytest
from tiny_world import FLOW
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.evaluation.session import Session
from benchmark.evaluation.verified import trained_here
from benchmark.interfaces import AttackSpec, DefenseSpec, FaceVeilError
from benchmark.protocol.tracks import TRACKS, in_round
from benchmark.protocol.variants import variant
from benchmark.runtime.progress import Silent
from benchmark.runtime.rounds import add_round, new_round

TRACK = variant(FLOW, {"shadows": 0, "population": 2}).model_copy(update={"name": "tiny-round"})
UNDEFENDED = DefenseSpec(name="undefended")


def test_weights_from_outside_in_a_round(fresh_home, tmp_path, monkeypatch):
    monkeypatch.setitem(TRACKS, TRACK.name, TRACK)
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path / "submitter"))
    trained = Session(TRACK, None, "cpu", progress=Silent()).train(UNDEFENDED, 0, tmp_path / "entry")

    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path / "evaluator"))
    held = new_round()
    session = Session(in_round(TRACK, held.name), None, "cpu", progress=Silent())
    record = session.evaluate(trained, [AttackSpec(name="bn_distance")])
    assert record.board == "weights"
    assert record.track == f"tiny-round@{held.name[:12]}"
    assert record.extra["round"] == {"secret_sha256": held.name}
    (tmp_path / "record.json").write_text(record.model_dump_json())

    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path / "anybody"))
    asked = ["round", "check", str(tmp_path / "record.json")]
    before = CliRunner().invoke(app, asked)
    assert isinstance(before.exception, FaceVeilError), "nobody can tell before the secret is revealed"
    add_round(held.secret.hex())
    assert CliRunner().invoke(app, asked).exit_code == 0
    again = Session(in_round(TRACK, held.name), None, "cpu", progress=Silent())
    assert again.evaluate(trained, [AttackSpec(name="bn_distance")]).fingerprint == record.fingerprint

    moved = record.model_copy(update={"provenance": record.provenance.model_copy(update={"data_digest": "0" * 16})})
    (tmp_path / "record.json").write_text(moved.model_dump_json())
    with pytest.raises(FaceVeilError, match="its digests are others"):
        CliRunner().invoke(app, asked, catch_exceptions=False)


def test_backbone_0_of_every_round_has_the_same_weights_and_a_note_of_its_own(fresh_home, tmp_path):
    public = Session(TRACK, None, "cpu", progress=Silent())
    one = public.train(UNDEFENDED, 0, tmp_path / "public")
    held = Session(in_round(TRACK, new_round().name), None, "cpu", progress=Silent())
    other = held.train(UNDEFENDED, 0, tmp_path / "held")
    assert other.submission_id == one.submission_id
    for session, submission in ((public, one), (held, other)):
        assert trained_here(session.cache, submission, session.populations) is not None
    record = held.evaluate(other, [AttackSpec(name="bn_distance")])
    assert record.board == "verified"
