"""Copies of other teams' weights, and one training under two seeds."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from card_factory import make_card
from record_factory import make_record
from submission_factory import make_backbone

from benchmark.protocol.track import InputSpec
from benchmark.service.intake import Intake
from benchmark.service.jobs import Job, State
from benchmark.service.quarantine import Quarantine
from benchmark.service.store import Store, UnknownRecordError, record_id
from benchmark.submissions.probes import signature
from benchmark.submissions.report import Report
from benchmark.submissions.submission import digest

Submit = Callable[..., Job]


def nudged(seed: int, how: float) -> Any:
    """A backbone with one float moved by one ulp, or (``how`` > 0) with noise on every parameter."""
    backbone, generator = make_backbone(seed), torch.Generator().manual_seed(1)
    with torch.no_grad():
        first, *_ = parameters = list(backbone.parameters())
        first.view(-1)[0] = torch.nextafter(first.view(-1)[0], torch.tensor(9.0))
        for parameter in parameters:
            parameter += how * parameter.std(unbiased=False) * torch.randn(parameter.shape, generator=generator)
    return backbone


@pytest.fixture
def submit(tmp_path: Path) -> Submit:
    store = Store(tmp_path / "s.sqlite")
    tokens: dict[str, str] = {}
    reports: list[Report] = []
    intake = Intake(store, Quarantine(tmp_path / "q"), lambda _path: reports[-1])

    def hand_in(team: str, backbone: Any, **card: Any) -> Job:
        weights = digest(backbone.state_dict())
        found = make_card(team=team, name=weights[:8], **card)
        known = signature(backbone, InputSpec(size=(32, 32)))
        reports.append(
            Report(path="x", submission_id=weights, weights_sha256=weights, card=found, probes=known, cost=card.get("cost"))
        )
        if team not in tokens:
            tokens[team] = store.teams.add(team)
        return intake.submit(store.teams.authenticate(tokens[team]), io.BytesIO(b"PK"))

    return hand_in


def codes(job: Job) -> list[str]:
    return [problem.code for problem in job.problems]


@pytest.mark.parametrize("how", [0.0, 0.005, 0.02])
def test_another_teams_weights_are_refused_however_they_were_changed(submit: Submit, how: float) -> None:
    """With one float moved by one ulp they were ranked first."""
    assert submit("owners", make_backbone(0)).state == State.VALIDATED
    job = submit("thieves", nudged(0, how))
    assert (job.state, codes(job)) == (State.REFUSED, ["copied_weights"])
    assert "'owners'" in job.problems[0].message
    assert submit("honest", make_backbone(1)).state == State.VALIDATED


def test_one_training_is_not_two_seeds(submit: Submit) -> None:
    assert submit("team", make_backbone(0), seed=0).state == State.VALIDATED
    job = submit("team", nudged(0, 0.0), seed=1)
    assert (job.state, codes(job)) == (State.REFUSED, ["copied_seed"])
    assert submit("team", make_backbone(1), seed=1).state == State.VALIDATED


def test_a_teams_own_weights_under_another_defence_are_told_and_not_refused(submit: Submit) -> None:
    submit("team", make_backbone(0))
    job = submit("team", nudged(0, 0.01), defenses=({"name": "bn_rounding", "settings": {}},))
    assert job.state == State.VALIDATED
    (flag,) = job.flags
    assert (flag.name, flag.severity) == ("near_copy", "info")


def test_weights_that_lie_near_anothers_are_told(submit: Submit) -> None:
    submit("owners", make_backbone(0))
    job = submit("others", nudged(0, 0.05))
    assert job.state == State.VALIDATED
    (flag,) = job.flags
    assert (flag.name, flag.severity) == ("near_copy", "warning")
    assert "owners" in flag.reason


def test_fine_tuned_weights_of_one_start_may_lie_near(submit: Submit) -> None:
    submit("one", make_backbone(0), initialised_from="public weights")
    assert submit("two", nudged(0, 0.02), initialised_from="public weights").state == State.VALIDATED
    assert codes(submit("three", nudged(0, 0.0), initialised_from="public weights")) == ["copied_weights"]


def test_a_record_is_removed_with_a_trace(tmp_path: Path) -> None:
    store = Store(tmp_path / "r.sqlite")
    record, other = make_record("bad", team="Rabauken"), make_record("good", settings={"x": 1})
    store.add_record(record)
    store.add_record(other)
    before = store.version()
    trace = store.remove_record(record_id(record)[:12], "weights of somebody else")
    assert [r.card.name for r in store.records()] == ["good"]
    assert store.version() > before
    assert store.removals() == [trace]
    assert (trace.name, trace.team, trace.reason) == ("bad", "Rabauken", "weights of somebody else")
    for name in ("0" * 64, ""):
        with pytest.raises(UnknownRecordError):
            store.remove_record(name if name else "%", "x")
