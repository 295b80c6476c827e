"""Chunks: an interrupted run ends in the same images; what an attack returns is checked."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from benchmark.evaluation.inversion.attack_runner import InversionRunner
from benchmark.evaluation.inversion.subjects import template_subjects
from benchmark.interfaces import (
    Access,
    AccessError,
    AttackSpec,
    FaceVeilError,
    Goal,
    InversionAttack,
    InversionOutput,
    Reference,
)


class Probe(InversionAttack):
    """Noise, or whatever ``returns`` says; it counts its calls and shows its context."""

    name: ClassVar[str] = "probe_in_test"
    summary: ClassVar[str] = "A probe of the runner."
    reference: ClassVar[Reference] = Reference(title="none")
    access: ClassVar[Access] = Access.WEIGHTS
    goals: ClassVar[tuple[Goal, ...]] = (Goal.TEMPLATE, Goal.TRAINING_IDENTITIES)
    contexts: ClassVar[list] = []
    fail_at: ClassVar[int | None] = None

    returns: str = "noise"
    level: str = "weights"

    def required_access(self):
        return Access(self.level)

    def invert(self, context):
        if Probe.fail_at == len(Probe.contexts):
            raise KeyboardInterrupt
        Probe.contexts.append(context)
        images = torch.rand(context.count, 3, context.image_size, context.image_size)
        context.target.with_access(Access.WEIGHTS).features(images)
        broken = {"nan": images * float("nan"), "wide": images * 3, "grey": images[:, :1], "few": images[1:]}
        return InversionOutput(broken.get(self.returns, images), (2.0, 1.0), ("as told",))


@pytest.fixture
def runner(flow, tmp_path, plugin_table):
    plugin_table(Probe)
    Probe.contexts, Probe.fail_at = [], None
    return InversionRunner(flow.submission, flow.populations, tmp_path, seed=0, chunk=3)


def spec(**settings) -> AttackSpec:
    return AttackSpec(name="probe_in_test", settings=settings)


def test_an_interrupted_run_goes_on_at_its_last_chunk(flow, runner, tmp_path):
    whole = InversionRunner(flow.submission, flow.populations, tmp_path / "other", seed=0, chunk=3)
    expected = whole.run(spec(), Goal.TRAINING_IDENTITIES, 8)
    Probe.contexts, Probe.fail_at = [], 2
    with pytest.raises(KeyboardInterrupt):
        runner.run(spec(), Goal.TRAINING_IDENTITIES, 8)
    Probe.contexts, Probe.fail_at = [], None
    found = runner.run(spec(), Goal.TRAINING_IDENTITIES, 8)
    assert [c.count for c in Probe.contexts] == [2], "two chunks of three were saved"
    assert torch.equal(found.images, expected.images)
    assert found.sha256 == expected.sha256
    assert found.queries == expected.queries == 8
    assert found.notes == ("as told",)


def test_what_is_finished_is_read(runner):
    first = runner.run(spec(), Goal.TRAINING_IDENTITIES, 4)
    calls = len(Probe.contexts)
    assert runner.run(spec(), Goal.TRAINING_IDENTITIES, 4).seconds == first.seconds
    assert len(Probe.contexts) == calls
    runner.run(spec(), Goal.TRAINING_IDENTITIES, 5)
    assert len(Probe.contexts) > calls, "another count is another run"


@pytest.mark.parametrize(
    ("returns", "message"),
    [("nan", "not finite"), ("wide", "images lie in"), ("grey", "returned images"), ("few", "returned images")],
)
def test_broken_images_are_refused(runner, returns, message):
    with pytest.raises(FaceVeilError, match=message):
        runner.run(spec(returns=returns), Goal.TRAINING_IDENTITIES, 3)


def test_an_attack_is_given_what_its_access_allows(flow, runner):
    sources = template_subjects(flow.populations, 2, seed=0).sources
    for level in ("similarity", "embedding", "weights", "head"):
        runner.run(spec(level=level), Goal.TEMPLATE, 4, sources)
    similarity, embedding, weights, _head = Probe.contexts[::2]
    assert similarity.templates is None
    assert similarity.similarity is not None
    assert embedding.templates is not None
    assert embedding.guide is None
    assert weights.guide is not None
    with pytest.raises(AccessError):
        embedding.target.features(torch.zeros(1, 3, 32, 32))
    with pytest.raises(AccessError):
        similarity.target.embed(torch.zeros(1, 3, 32, 32))


def test_templates_are_what_the_system_returns(flow, runner):
    subjects = template_subjects(flow.populations, 2, seed=0)
    runner.run(spec(), Goal.TEMPLATE, 4, subjects.sources)
    context = Probe.contexts[0]
    photos = subjects.sources.load([0, 1, 2]).float().div(255)
    torch.testing.assert_close(context.target.embed(photos), context.templates, atol=1e-4, rtol=1e-4)
    scores = context.similarity(photos, torch.tensor([0, 1, 1]))
    assert scores[:2].tolist() == pytest.approx([1, 1], abs=1e-4)
    assert scores[2] < 0.999


def test_classes_are_those_of_members_asked_about(flow, runner):
    runner.run(spec(level="head"), Goal.TRAINING_IDENTITIES, 3)
    classes = Probe.contexts[0].classes
    queried = flow.populations.queried
    labelled = {int(p) for p in queried.identity[flow.populations.labelled]}
    people = sorted({int(p) for p in flow.populations.seen.identity})
    assert all(people[c] not in labelled for c in classes.tolist())
