"""Judges: who is eligible, and what they are calibrated on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.data.populations import open_populations
from benchmark.evaluation.inversion.panel import Calibration, Judge, Panel, calibrate, open_panel
from benchmark.interfaces import Access, BackboneSpec
from benchmark.protocol.track import TrainingConfig
from benchmark.records.results import Metric
from benchmark.signals.target import Target


def judge(submission, name="a", tar=0.9, architecture="x") -> Judge:
    metrics = {far: Metric(value=tar, n=10) for far in ("1e-2", "1e-3", "1e-4")}
    thresholds = dict.fromkeys(metrics, 0.5)
    return Judge(name, Target(submission, Access.EMBEDDING), Calibration(thresholds, metrics), "others", architecture)


@pytest.fixture(scope="module")
def other(flow):
    return flow.train(seed=7, name="other")


def test_two_independent_judges_of_different_architecture_are_needed(flow, other):
    two = Panel((judge(other, "a"), judge(other, "b", architecture="y")))
    assert two.unranked(flow.submission) == ()
    alike = Panel((judge(other, "a"), judge(other, "b")))
    assert "of 2 needed" in alike.unranked(flow.submission)[0]


def test_a_judge_that_cannot_recognise_is_not_heard_and_says_why(flow, other):
    weak, unknown = judge(other, "weak", tar=0.3, architecture="y"), judge(other, "unknown", tar=None)
    panel = Panel((judge(other), weak, unknown))
    assert [j.name for j in panel.eligible(flow.submission)] == ["a"]
    assert "recognises 30%" in weak.reason
    (reason,) = panel.unranked(flow.submission)
    assert "weak" in reason
    assert weak.info().usable is False


def test_the_attacked_model_and_what_it_started_from_do_not_judge_it(flow, other):
    itself = judge(flow.submission, "itself", architecture="y")
    start = judge(other, "public")
    tuned = replace(flow.submission, card=flow.submission.card.model_copy(update={"initialised_from": "public"}))
    panel = Panel((itself, start))
    assert [j.name for j in panel.eligible(flow.submission)] == ["public"]
    assert panel.eligible(tuned) == ()
    assert "what it started from" in panel.unranked(tuned)[0]


def test_a_parent_under_another_name_does_not_judge_its_child_nor_the_attackers_own_encoder(flow, other):
    moved = {n: t + 0.05 * t.std() * torch.randn_like(t) if t.dim() > 1 else t for n, t in other.weights.items()}
    child = replace(other, weights=moved)
    panel = Panel((judge(other, "of another name"), judge(flow.submission, "b", architecture="y")))
    assert [j.name for j in panel.eligible(child)] == ["b"]
    assert panel.eligible(child, flow.submission) == ()
    assert "the attacker's own encoder" in panel.unranked(child, flow.submission)[0]


def test_thresholds_realise_the_false_accept_rate(flow, tmp_path):
    """On all pairs of different verification people, by a plain loop."""
    target = Target(flow.submission, Access.EMBEDDING)
    found = calibrate(target, flow.populations, tmp_path)
    photos = flow.populations.verification
    with torch.no_grad():
        unit = torch.nn.functional.normalize(target.embed(photos.load(range(len(photos))))).numpy()
    identity = np.asarray(photos.identity)
    strangers = identity[:, None] != identity[None]
    rate = (unit @ unit.T >= found.thresholds["1e-2"])[strangers].mean()
    assert 0.005 < rate <= 0.0101
    assert calibrate(target, flow.populations, tmp_path) == found, "read again from its file"


def test_judges_are_trained_on_people_of_their_own_and_kept(tmp_path, flow):
    track = flow.track.model_copy(
        update={
            "roles": flow.track.roles.model_copy(update={"judges": 6}),
            "judges": (
                BackboneSpec(name="iresnet_slim", kwargs={"width": 0.125, "embedding_size": 16}),
                BackboneSpec(name="mobilefacenet", kwargs={"width": 0.125, "embedding_size": 16}),
            ),
            "judge_training": TrainingConfig(epochs=1, batch_size=12, lr=0.05),
        }
    )
    populations = open_populations(track, cache=tmp_path / "photos")
    others = set(np.concatenate([populations.queried.identity, populations.auxiliary.identity]).tolist())
    assert not others & set(np.asarray(populations.judges.identity).tolist())
    epochs = []
    panel = open_panel(populations, tmp_path, training=epochs.append)
    assert [j.architecture for j in panel.judges] == ["iresnet_slim", "mobilefacenet"]
    assert len(epochs) == 2, "one epoch each, as judges are trained"
    again = open_panel(populations, tmp_path, training=epochs.append)
    assert len(epochs) == 2
    assert [j.target.submission_id for j in again.judges] == [j.target.submission_id for j in panel.judges]
    assert all(j.info().tar.keys() == {"1e-2", "1e-3", "1e-4"} for j in panel.judges)
