from __future__ import annotations

import re
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import pytest

from benchmark.data.populations import SEEN
from benchmark.evaluation.membership.evidence import ModelSignals, gather, narrowed
from benchmark.evaluation.membership.scores import query_shadows, run_contrast
from benchmark.evaluation.membership.summary import run_attack
from benchmark.interfaces import (
    Access,
    AttackSpec,
    Contrast,
    FaceVeilError,
    Knowledge,
    MembershipAttack,
    NotApplicableError,
    Reference,
    SignalRequest,
    Signals,
)
from benchmark.protocol.registry import build_attack
from benchmark.signals.answers import Embedding
from benchmark.signals.layers import NormDistance
from benchmark.signals.target import Target

EMBEDDING = Embedding()
NORM = NormDistance(statistic="mean")


class Probe(MembershipAttack):
    """Keeps what it is shown; scores as its ``answer`` says."""

    name: ClassVar[str] = "probe"
    summary: ClassVar[str] = "A probe."
    reference: ClassVar[Reference] = Reference(title="none")
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY)
    shown: ClassVar[list[tuple[str, Signals, np.ndarray | None]]] = []

    answer: Literal["first", "nan", "infinite", "short", "column", "refuse", "person", "same"] = "first"
    knowledge: Knowledge = Knowledge.NONE

    def requests(self) -> tuple[SignalRequest, ...]:
        return (EMBEDDING,)

    def fit(self, signals: Signals, labels: np.ndarray) -> None:
        self.shown.append(("fit", signals, labels))

    def score(self, signals: Signals) -> np.ndarray:
        self.shown.append(("score", signals, None))
        first = np.array(signals[EMBEDDING][:, 0], np.float64)
        if self.answer == "refuse":
            raise NotApplicableError("nothing to see here")
        if self.answer in ("nan", "infinite"):
            first[3] = np.nan if self.answer == "nan" else np.inf
        other = {"short": first[1:], "column": first[:, None], "person": signals.identity * 1.0, "same": np.zeros(len(first))}
        return other.get(self.answer, first)


class Greedy(Probe):
    """Declares less access than it asks for."""

    name: ClassVar[str] = "greedy"

    def requests(self) -> tuple[SignalRequest, ...]:
        return (EMBEDDING, NORM)


@pytest.fixture(autouse=True)
def probes(plugin_table):
    plugin_table(Probe)
    plugin_table(Greedy)
    Probe.shown.clear()


@pytest.fixture(scope="module")
def evidence(flow):
    specs = [AttackSpec(name="bn_distance"), AttackSpec(name="bn_distance", settings={"knowledge": "auxiliary"})]
    specs += [AttackSpec(name="regrown_head"), AttackSpec(name="embedding_norm", settings={"knowledge": "auxiliary"})]
    return flow.evidence(specs)


def probe(**settings) -> AttackSpec:
    return AttackSpec(name="probe", settings=settings)


def run(spec: AttackSpec, evidence, **options):
    return run_attack(spec, evidence, **{"adaptive": False, "blind": {}, "seed": 0, **options})


# What an attack is given


def test_without_knowledge_nothing_is_fitted(evidence):
    run_contrast(probe(), evidence, Contrast.SAMPLE)
    assert [what for what, _, _ in Probe.shown] == ["score"]


def test_partial_knowledge_is_of_other_people_than_are_asked_about(evidence):
    scores = run_contrast(probe(knowledge="partial"), evidence, Contrast.SAMPLE)
    (_, known, labels), (_, asked, _) = Probe.shown
    rows = {name: {row.tobytes() for row in s[EMBEDDING]} for name, s in (("known", known), ("asked", asked))}
    assert not rows["known"] & rows["asked"]
    assert set(labels.tolist()) == {0, 1}
    index = evidence.sides(Contrast.SAMPLE, labelled=True)
    assert (labels == evidence.labels(index, Contrast.SAMPLE)).all()
    assert len(asked) == len(scores.score)


def test_auxiliary_knowledge_is_of_the_shadow_s_people(evidence):
    run_contrast(probe(knowledge="auxiliary"), evidence, Contrast.SAMPLE)
    (_, known, labels), _ = Probe.shown
    (shadow,) = evidence.shadows
    index = np.flatnonzero(np.isin(shadow.side, (0, 1)))
    np.testing.assert_array_equal(known[EMBEDDING], shadow.signals[EMBEDDING][index])
    assert (labels == (shadow.side[index] == SEEN)).all()


def test_several_shadows_come_as_groups(evidence):
    (shadow,) = evidence.shadows
    double = replace(evidence, shadows=[shadow, shadow])
    run_contrast(probe(knowledge="auxiliary"), double, Contrast.IDENTITY)
    (_, known, labels), _ = Probe.shown
    half = len(labels) // 2
    assert known.group.tolist() == [0] * half + [1] * half
    assert np.array_equal(labels[:half], labels[half:])


def test_only_what_was_asked_for_is_handed_over(evidence):
    run_contrast(probe(), evidence, Contrast.SAMPLE)
    ((_, signals, _),) = Probe.shown
    assert set(signals.values) == {"embedding.identity"}
    with pytest.raises(KeyError, match="was not requested"):
        signals[NORM]


def test_people_are_hidden_from_those_without_a_gallery(evidence):
    blind, sighted = build_attack(probe()), build_attack(AttackSpec(name="regrown_head"))
    index = np.arange(len(evidence.signals))
    assert narrowed(evidence.signals, blind, index).identity.tolist() == index.tolist()
    assert (narrowed(evidence.signals, sighted, index).identity == evidence.identity).all()


# What comes of it


def test_a_result_has_every_contrast_with_its_counts(evidence):
    result, scores = run(probe(), evidence)
    assert result.status == "ok"
    assert set(result.contrasts) == set(scores) == {Contrast.SAMPLE, Contrast.IDENTITY}
    sample = result.contrasts[Contrast.SAMPLE]
    asked = evidence.sides(Contrast.SAMPLE, labelled=False)
    assert sample.n_positive == sample.n_negative == len(asked) / 2
    assert sample.people == len(np.unique(evidence.identity[asked]))
    assert sample.scores_sha256 == scores[Contrast.SAMPLE].sha256
    assert len(sample.roc) <= 200
    assert sample.roc[-1] == (1.0, 1.0)
    assert result.queries == len(evidence.identity)
    assert result.access == "embedding"
    assert result.seconds > 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("nan", r"1 of \d+ scores are not finite"),
        ("infinite", r"1 of \d+ scores are not finite"),
        ("short", r"must be of shape \((\d+),\), got"),
        ("column", r"got \(\d+, 1\)"),
    ],
)
def test_bad_scores_fail_with_a_reason_not_a_number(answer, reason, evidence):
    result, scores = run(probe(answer=answer), evidence)
    assert result.status == "failed"
    assert not result.contrasts
    assert not scores
    with pytest.raises(FaceVeilError, match=reason):
        raise FaceVeilError(result.reason)


def test_what_does_not_apply_says_why(evidence):
    result, scores = run(probe(answer="refuse"), evidence)
    assert (result.status, result.reason) == ("not_applicable", "nothing to see here")
    assert not result.contrasts
    assert not scores


def test_knowledge_that_the_track_does_not_give_does_not_apply(evidence):
    result, _ = run(probe(knowledge="query_pool"), evidence)
    assert result.status == "not_applicable"
    assert "no shadow backbones for a 'query_pool' attacker" in result.reason


def test_an_unavailable_signal_does_not_apply(evidence):
    lacking = replace(evidence, missing_on_target={"embedding.identity": "there is none"})
    result, _ = run(probe(), lacking)
    assert (result.status, result.reason) == ("not_applicable", "there is none")
    assert not Probe.shown, "nothing was fitted or scored"


def test_more_than_the_declared_access_fails_with_a_reason(evidence):
    result, scores = run(AttackSpec(name="greedy"), evidence)
    assert result.status == "failed"
    assert re.search(r"'greedy' declares 'embedding' access but requests 'norm.*needs 'weights'", result.reason)
    assert not scores


@pytest.mark.parametrize(
    ("answer", "reason"), [("person", "photos of a person got the same"), ("same", "every photo got the same")]
)
def test_a_half_that_follows_from_the_scores_alone_is_a_reason_and_no_figure(evidence, monkeypatch, answer, reason):
    monkeypatch.setattr(Probe, "needs_gallery", True)
    with pytest.raises(NotApplicableError, match=reason):
        run_contrast(probe(answer=answer), evidence, Contrast.SAMPLE)
    result, _ = run(probe(answer=answer), evidence)
    assert (result.status == "ok") == (answer == "person"), "of people, one score a person is what it should be"
    assert reason in result.not_applicable[Contrast.SAMPLE]


def test_the_blind_auc_is_taken_off(evidence):
    result, _ = run(probe(), evidence, blind={Contrast.SAMPLE: 0.6})
    metrics = result.contrasts[Contrast.SAMPLE].metrics
    assert metrics["excess_over_blind"].value == pytest.approx(metrics["auc"].value - 0.6)
    other = result.contrasts[Contrast.IDENTITY].metrics
    assert other["excess_over_blind"].value == pytest.approx(other["auc"].value - 0.5)


@pytest.mark.parametrize(
    ("name", "settings", "passes"),
    [("gradient_norm", {}, 2), ("encoder_mi", {}, 10), ("part_crop", {"parts": 16}, 17), ("regrown_head", {}, 1)],
)
def test_queries_count_what_goes_through_the_target(flow, tmp_path, name, settings, passes):
    """The images that a hook on the backbone sees."""
    spec = AttackSpec(name=name, settings=settings)
    target = Target(flow.submission, Access.WEIGHTS)
    with target.counting() as queries:
        own = gather(target, flow.populations, [build_attack(spec)], cache=tmp_path)
    result, _ = run(spec, own)
    assert result.status == "ok", result.reason
    assert result.queries == passes * len(flow.populations.queried)
    # A blank photo and a blank part say whether there is a map for parts to point at: once where what the target can serve is
    # sorted out, once where signals that are not stored yet are about to be read.
    probe = 4 if name == "part_crop" else 0
    assert queries.images == result.queries + probe
    with target.counting() as queries:
        gather(target, flow.populations, [build_attack(spec)], cache=tmp_path)
    assert queries.images == probe // 2, "what is stored is not asked for again"


def test_repeated_queries_count_as_often_as_the_system_answers(flow):
    """The pass is made once here; whoever asks a deployed system sixteen times is seen sixteen times."""
    spec = AttackSpec(name="regrown_head", settings={"queries": 16})
    result, _ = run(spec, flow.evidence([spec]))
    assert result.queries == 16 * len(flow.populations.queried)


# Shadows of the query pool


def pooled(evidence, **values):
    """The evidence with one shadow whose signals are those of the target, changed as said."""
    signals = replace(evidence.signals, values={**evidence.signals.values, **values}, memo={})
    return replace(evidence, pool=[ModelSignals(evidence.populations.numbered(1), signals)])


def test_shadows_of_another_architecture_do_not_compare(evidence):
    spec = AttackSpec(name="bn_lira")
    key = "norm.mean.stored.identity"
    values = np.ones((len(evidence.signals), 5), np.float32)
    own = replace(evidence, signals=replace(evidence.signals, values={**evidence.signals.values, key: values}))
    result, _ = run(spec, pooled(own, **{key: values[:, :4]}))
    assert result.status == "not_applicable"
    assert "another architecture" in result.reason


def test_what_a_shadow_lacks_does_not_touch_other_attacks(evidence):
    spec = AttackSpec(name="lira", settings={"statistic": "head_logit"})
    logits = {"head.logit.identity": np.ones((len(evidence.signals), 1), np.float32)}
    own = replace(evidence.signals, values={**evidence.signals.values, **logits})
    lacking = replace(pooled(evidence), signals=own, missing_on_shadow={"head.logit.identity": "its head has 3 classes"})
    result, _ = run(spec, lacking)
    assert result.status == "not_applicable"
    assert result.reason == "its head has 3 classes"
    assert run(probe(), lacking)[0].status == "ok"


def test_a_shadow_stands_in_the_target_s_place(flow):
    """On the sample contrast it speaks of the people it trained on, on the identity contrast of photos it did not train on."""
    spec = AttackSpec(name="lira")
    evidence = flow.evidence([spec])
    attack = build_attack(spec)
    for contrast in (Contrast.SAMPLE, Contrast.IDENTITY):
        index = evidence.sides(contrast, labelled=False)
        shadows = query_shadows(attack, evidence, contrast, index)
        assert len(shadows) == flow.track.population - 1
        for shadow, model in zip(shadows, evidence.pool, strict=True):
            own = model.populations.membership
            if contrast == Contrast.SAMPLE:
                assert (shadow.usable == own.person[index]).all()
                assert (shadow.aligned_inside == own.photo[index]).all()
            else:
                assert not own.photo[index][shadow.usable].any()
                assert (shadow.aligned_inside == (own.person[index] & shadow.usable)).all()
            embeddings = shadow.aligned(shadow.signals[EMBEDDING])
            whole = np.asarray(model.signals[EMBEDDING])[index]
            np.testing.assert_array_equal(embeddings[shadow.usable], whole[shadow.usable])


def test_shadows_hold_every_photo_or_none_of_the_target_s_label(flow):
    """Counting on how many shadows a photo is inside says nothing of whether the target trained on it."""
    populations = flow.populations
    inside = np.stack([populations.numbered(k).membership.photo for k in range(1, 200)])
    target = populations.membership
    assert abs(np.corrcoef(inside.sum(0), target.photo)[0, 1]) < 0.25
