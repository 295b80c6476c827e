"""``import faceveil``: names that load lazily, and the commands as functions."""

import subprocess
import sys

import pytest
from tiny_world import FLOW

import faceveil
from benchmark.interfaces import FaceVeilError
from benchmark.protocol import tracks


def test_importing_it_loads_no_torch():
    code = "import sys, faceveil; assert 'torch' not in sys.modules; print(sorted(n for n in dir(faceveil)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in ("audit", "evaluate", "train", "load_submission", "load_records", "rank"):
        assert name in found.stdout


def test_every_name_can_be_had_and_others_are_told():
    for name in faceveil.__all__:
        assert callable(getattr(faceveil, name)), name
    with pytest.raises(AttributeError, match=r"it has .*audit"):
        faceveil.adit  # noqa: B018


def test_train_evaluate_store_and_rank(tmp_path, fresh_home, monkeypatch):
    monkeypatch.setitem(tracks.TRACKS, FLOW.name, FLOW)
    submission = faceveil.train(FLOW.name, "undefended", out=tmp_path / "entry", seed=3)
    assert faceveil.load_submission(tmp_path / "entry").submission_id == submission.submission_id
    record = faceveil.evaluate(submission, FLOW.name)
    assert record.provenance.submission_id == submission.submission_id
    assert [r.provenance.submission_id for r in faceveil.load_records(FLOW.name)] == [submission.submission_id]
    assert len(faceveil.rank(faceveil.load_records())) == 1
    with pytest.raises(FaceVeilError, match="not empty"):
        faceveil.train(FLOW.name, out=tmp_path / "entry")
