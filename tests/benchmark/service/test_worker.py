"""What the queue runs: the whole evaluation, inversion included."""

from __future__ import annotations

import pytest

from benchmark.evaluation import session as session_module
from benchmark.evaluation.inversion import judgement
from benchmark.service.worker import standard_evaluation
from benchmark.submissions import submission as submission_module


class Session:
    def __init__(self, track, data, device, *, init, progress):
        self.track = track

    def evaluate(self, submission):
        return f"record of {submission}"

    def inversion(self, submission):
        return type("Runner", (), {"run": staticmethod(lambda: f"faces of {submission}")})


@pytest.mark.parametrize("inversion", [True, False])
def test_the_queue_runs_inversion_unless_told_not_to(monkeypatch, tmp_path, inversion):
    monkeypatch.setattr(session_module, "Session", Session)
    monkeypatch.setattr(submission_module, "load_submission", lambda path: "it")
    monkeypatch.setattr(judgement, "with_inversion", lambda record, found: (record, found))
    evaluate = standard_evaluation(None, "cpu", inversion=inversion)
    job = type("Job", (), {"track": "synthetic-smoke"})
    found = evaluate(tmp_path, job, None)
    assert found == (("record of it", "faces of it") if inversion else "record of it")
