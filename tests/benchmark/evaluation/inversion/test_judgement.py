"""The whole of it on a small world: made, judged, and put into the record."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_generator import TinyGenerator
from torchvision.models import alexnet

from benchmark.evaluation.inversion.attack_runner import InversionRunner
from benchmark.evaluation.inversion.judgement import InversionEvaluation, with_inversion
from benchmark.evaluation.inversion.lpips import Lpips
from benchmark.evaluation.inversion.panel import Calibration, Judge, Panel, calibrate
from benchmark.evaluation.inversion.pictures import check_may_show
from benchmark.interfaces import Access, AttackSpec, FaceVeilError, Goal
from benchmark.records.record import Record
from benchmark.records.results import InversionRecord, Metric
from benchmark.signals.target import Target

SPECS = [
    AttackSpec(name="template", settings={"steps": 15, "latents": 2, "pool": 40, "validation": False, "average": 3}),
    AttackSpec(name="bn_guided", settings={"steps": 5}),
    AttackSpec(name="random_latents"),
    AttackSpec(name="nearest_public", settings={"photos": 60}),
]


def judge(world, submission, name: str, architecture: str) -> Judge:
    """A judge as it would be with the recognition it needs, whatever this small world gave it."""
    target = Target(submission, Access.EMBEDDING)
    found = calibrate(target, world.populations, world.folder / "judges")
    tar = {far: Metric(value=0.9, n=found.tar[far].n) for far in found.tar}
    return Judge(name, target, Calibration(found.thresholds, tar), "others", architecture)


@pytest.fixture(scope="module")
def panel(flow):
    first, second = (flow.train(seed=s, name=f"judge-{s}") for s in (11, 12))
    return Panel((judge(flow, first, "a", "x"), judge(flow, second, "b", "y")))


@pytest.fixture(scope="module")
def evaluation(flow, panel, tmp_path_factory):
    cache = tmp_path_factory.mktemp("inversion")
    generator = TinyGenerator(flow.populations.auxiliary)
    runner = InversionRunner(flow.submission, flow.populations, cache, seed=0, chunk=4, generator=generator)
    return InversionEvaluation(runner, panel, generator_name="principal components")


@pytest.fixture(scope="module")
def found(evaluation):
    return evaluation.run(SPECS)


def result(found: InversionRecord, name: str, goal: Goal):
    return next(r for r in found.results if r.spec.name == name and r.goal == goal)


def test_every_attack_is_judged_for_each_of_its_goals(found):
    named = {(r.spec.name, r.goal) for r in found.results}
    assert ("template", "template") in named
    assert {("random_latents", "template"), ("random_latents", "training_identities")} <= named
    assert all(r.status == "ok" for r in found.results)
    assert [r.control for r in found.results].count(True) == 4


def test_the_panel_each_judge_and_the_attacked_model_speak(found):
    r = result(found, "template", Goal.TEMPLATE)
    assert set(r.judges) == {"a", "b"}
    name = "type1_tar@far=1e-2"
    assert r.metrics[name].value <= min(j[name].value for j in r.judges.values()) + 1e-9, "they have to agree"
    assert r.target[name].value > 0.9, "the attacked model is convinced by what was optimised for it"
    assert {"gap:type1_tar@far=1e-2", "fid", "rank1", "identity_coverage"} <= set(r.metrics)


def test_lpips_is_measured_where_there_are_weights_for_it(evaluation, found, tmp_path):
    path = tmp_path / "alexnet.pth"
    torch.save(alexnet(weights=None).features.state_dict(prefix="features."), path)
    looking = replace(evaluation, lpips=Lpips(path))
    again = looking.run([SPECS[2]])
    metric = result(again, "random_latents", Goal.TEMPLATE).metrics["lpips"]
    assert metric.value > 0
    assert metric.low <= metric.value <= metric.high
    assert "gap:lpips" in result(again, "random_latents", Goal.TEMPLATE).metrics
    assert "lpips" not in result(again, "random_latents", Goal.TRAINING_IDENTITIES).metrics
    assert "lpips" not in result(found, "random_latents", Goal.TEMPLATE).metrics


def test_the_attack_beats_the_control_by_the_attacked_model_s_own_verdict(found):
    name = "type1_tar@far=1e-2"
    attack, control = (result(found, n, Goal.TEMPLATE).target[name].value for n in ("template", "random_latents"))
    assert attack > control + 0.5


def test_leakage_is_of_the_best_attack_that_counts(found):
    assert found.leakage_attack.startswith("bn_guided"), "controls never count"
    assert len(found.leakage_replicates) == 200
    low, high = np.quantile(found.leakage_replicates, [0.0, 1.0])
    assert low <= found.leakage.value <= high
    assert "distinct members" in found.leakage.note


def test_a_selection_is_unranked_and_says_so(found):
    assert any("only some" in reason for reason in found.unranked)


def test_again_is_the_same_and_costs_nothing(evaluation, found):
    steps = []
    object.__setattr__(evaluation.runner, "step", steps.append)
    assert evaluation.run(SPECS) == found
    assert steps == []


def test_it_travels_in_the_record(found, tmp_path):
    from record_factory import make_record

    record = make_record()
    assert record.inversion is None, "older records have none"
    whole = with_inversion(record, found)
    assert Record.model_validate_json(whole.model_dump_json()) == whole
    assert whole.fingerprint != record.fingerprint
    assert "random_latents" in whole.attacks
    assert "images" not in json.dumps(whole.model_dump(mode="json")["inversion"]["results"][0]["metrics"]["rank1"]["note"])


def test_without_independent_judges_it_is_shown_and_unranked(evaluation, flow):
    alone = InversionEvaluation(evaluation.runner, Panel(evaluation.panel.judges[:1]))
    found = alone.run([AttackSpec(name="random_latents")])
    assert "of 2 needed" in found.unranked[0]
    assert found.leakage is None
    assert found.results[0].metrics


def test_without_a_generator_attacks_are_not_applicable(evaluation, flow, panel):
    runner = InversionRunner(flow.submission, flow.populations, flow.folder / "bare", seed=0, chunk=4)
    found = InversionEvaluation(runner, panel).run([AttackSpec(name="template")])
    assert found.results[0].status == "not_applicable"
    assert "faceveil generator train" in found.results[0].reason


def test_faces_of_this_world_may_not_be_shown(evaluation, flow, tmp_path):
    with pytest.raises(FaceVeilError, match="never shown"):
        check_may_show(flow.track)
    with pytest.raises(FaceVeilError, match="never shown"):
        evaluation.gallery(SPECS[0], Goal.TEMPLATE, 4, tmp_path / "no.png")
