"""What the queue runs: the whole evaluation, inversion included."""

from __future__ import annotations

from typing import ClassVar

import pytest

from benchmark.evaluation import session as session_module
from benchmark.evaluation.inversion import judgement
from benchmark.service.worker import standard_evaluation
from benchmark.submissions import submission as submission_module


class Session:
    tracks: ClassVar[list[str]] = []

    def __init__(self, track, data, device, *, init, progress):
        self.track = track

    def evaluate(self, submission):
        Session.tracks.append(self.track.name)
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


def test_a_round_holds_for_tracks_that_draw_their_photos(monkeypatch, tmp_path):
    monkeypatch.setattr(session_module, "Session", Session)
    monkeypatch.setattr(submission_module, "load_submission", lambda path: "it")
    monkeypatch.setattr(Session, "tracks", [])
    evaluate = standard_evaluation(None, "cpu", inversion=False, held="5e" * 32)
    for name in ("synthetic-smoke", "faces-112"):
        evaluate(tmp_path, type("Job", (), {"track": name}), None)
    assert Session.tracks == ["synthetic-smoke@5e5e5e5e5e5e", "faces-112"]
