"""Every plug-in that the registry finds keeps its contract; none is named here.

An attack must find the leak of the overfitted world of ``tiny_world`` with an AUC above 0.8, and must be at chance on a
backbone that overfitted other people.  A test file may state ``PLANTED_AUC`` for its attack, or for some of its variants by
label; where that is lower, ``test_planted_leaks.py`` must name a leak of the attack's own kind.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from plugin_cases import ATTACK_SPECS, ATTACKS, TESTS, planted_auc, test_file, variants
from pydantic import ValidationError
from tiny_generator import TinyGenerator
from tiny_world import World

from benchmark.data.populations import SEEN, UNSEEN
from benchmark.evaluation.inversion.attack_runner import InversionImages, InversionRunner
from benchmark.evaluation.inversion.subjects import template_subjects
from benchmark.evaluation.membership.evidence import Evidence, narrowed
from benchmark.evaluation.membership.pooling import Scores
from benchmark.evaluation.membership.score_metrics import auc_estimate, contrast_metrics
from benchmark.evaluation.membership.scores import check_access, query_shadows, run_contrast
from benchmark.interfaces import (
    TRAINING_STAGES,
    Access,
    AttackSpec,
    Contrast,
    Defense,
    DefenseSpec,
    Goal,
    InversionAttack,
    Knowledge,
    MembershipAttack,
    NotApplicableError,
    Plugin,
    SettingsError,
)
from benchmark.metrics.roc import roc
from benchmark.protocol import registry
from benchmark.protocol.registry import build_attack, build_defense, build_inversion
from benchmark.training.build import make_untrained

FAMILIES = {"none", "control", "bn_statistics", "dp", "training", "architecture", "input", "embedding", "unlearning"}
RELABELLINGS = 12
LABELLED = (Knowledge.PARTIAL, Knowledge.AUXILIARY)

DEFENSES = list(registry.defenses().values())
PLUGINS: list[type[Plugin]] = [*ATTACKS, *registry.inversion_attacks().values(), *DEFENSES]

each_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda p: p.name)
each_attack = pytest.mark.parametrize("spec", ATTACK_SPECS, ids=lambda s: s.label)
each_defense = pytest.mark.parametrize("plugin", DEFENSES, ids=lambda p: p.name)


def build(plugin: type[Plugin], settings: dict[str, Any]) -> Plugin:
    spec = AttackSpec(name=plugin.name, settings=settings)
    if issubclass(plugin, Defense):
        return build_defense(spec)
    return build_inversion(spec) if issubclass(plugin, InversionAttack) else build_attack(spec)


@dataclass(frozen=True)
class Asked:
    """Evidence, and what attacks found in it: each runs once for all tests."""

    evidence: Evidence
    found: dict[str, dict[Contrast, Scores]] = field(default_factory=dict)

    def scores(self, spec: AttackSpec) -> dict[Contrast, Scores]:
        """By contrast that the attack has a meaning for, those first on which the tiny world leaks most clearly."""
        if spec.label not in self.found:
            scores = {}
            for contrast in (Contrast.SAMPLE, Contrast.PAPER, Contrast.IDENTITY):
                if contrast in build_attack(spec).contrasts:
                    with suppress(NotApplicableError):
                        scores[contrast] = run_contrast(spec, self.evidence, contrast)
            assert scores, "an attack has a meaning somewhere"
            self.found[spec.label] = scores
        return self.found[spec.label]

    def leak_contrast(self, spec: AttackSpec) -> Contrast:
        """The contrast on which the tiny world leaks most clearly, of those the attack is made for."""
        return next(iter(self.scores(spec)))


def given(attack: MembershipAttack, evidence: Evidence) -> bool:
    """Whether this target gives every signal that the attack reads: the head of others' backbone has no class for these."""
    return not any(r.key in evidence.missing_on_target for r in attack.requests())


# Every plug-in


def test_there_are_plugins():
    assert {"bn_distance", "regrown_head"} <= {a.name for a in ATTACKS}
    assert {"undefended", "bn_perturbation"} <= {d.name for d in DEFENSES}


@each_plugin
def test_names_and_sources_are_stated(plugin):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", plugin.name)
    assert plugin.__module__.rpartition(".")[2] == plugin.name, "one file, named like its plug-in"
    assert plugin.summary.endswith(".")
    assert "\n" not in plugin.summary
    assert 10 < len(plugin.summary) <= 120
    assert plugin.__doc__
    assert plugin.__doc__ != plugin.__base__.__doc__
    assert plugin.reference.title
    info = registry.info(plugin)
    assert info.name == plugin.name
    assert plugin.reference.title in info.reference


@each_plugin
def test_has_its_own_test_file(plugin):
    assert test_file(plugin).is_file(), f"write {test_file(plugin).relative_to(TESTS.parent)}"
    assert "def test_" in test_file(plugin).read_text(encoding="utf-8")


@each_plugin
def test_settings_survive_json(plugin):
    for settings in variants(plugin):
        first = build(plugin, settings)
        again = build(plugin, json.loads(json.dumps(first.settings())))
        assert again.settings() == first.settings()
        assert settings.items() <= first.settings().items()
        assert set(first.settings()) == set(plugin.model_fields)


@each_plugin
def test_settings_cannot_be_changed(plugin):
    for name in plugin.model_fields:
        with pytest.raises(ValidationError):
            setattr(build(plugin, {}), name, None)


@each_plugin
def test_a_setting_that_does_not_exist_is_refused_by_name(plugin):
    names = list(plugin.model_fields)
    wrong = f"{names[0]}x" if names else "nonsense"
    with pytest.raises(SettingsError) as refusal:
        build(plugin, {wrong: 1})
    assert f"no setting {wrong!r}" in str(refusal.value)
    if names:
        assert f"did you mean {names[0]!r}?" in str(refusal.value)
    for name in names:
        assert f"{name} (default " in str(refusal.value)


# Membership attacks


@pytest.fixture(scope="module")
def asked_tiny(tiny):
    return Asked(tiny.evidence(ATTACK_SPECS))


@pytest.fixture
def evidence(asked_tiny):
    return asked_tiny.evidence


@pytest.fixture(scope="module")
def other_people(tiny):
    """Evidence of a backbone that overfitted other people, asked about the tiny world's."""
    return tiny.evidence(ATTACK_SPECS, next(iter(tiny.shadows())).submission)


@each_attack
def test_access_and_contrasts_are_stated(spec):
    attack = build_attack(spec)
    assert isinstance(attack.access, Access)
    assert attack.contrasts
    assert len(set(attack.contrasts)) == len(attack.contrasts)
    assert attack.requests() == attack.requests()
    assert len({r.key for r in attack.requests()}) == len(attack.requests()) > 0
    check_access(attack)
    needed = max((r.access for r in attack.requests()), key=list(Access).index)
    assert attack.required_access() == needed, "declare the least access that the requests need"
    if not spec.settings:
        assert attack.access == needed


@each_attack
def test_knowledge_is_used(spec):
    """An attack that is given labels learns from them, and one that learns takes labels."""
    attack = build_attack(spec)
    learns = type(attack).fit is not MembershipAttack.fit
    assert learns or attack.knowledge not in LABELLED
    assert (type(attack).calibrate is not MembershipAttack.calibrate) or not attack.calibrates
    assert attack.knowledge.uses_shadows or not attack.calibrates


@each_attack
def test_scores_are_finite_numbers_and_repeat(spec, asked_tiny, evidence):
    for contrast, first in asked_tiny.scores(spec).items():
        second = run_contrast(spec, evidence, contrast)
        index = evidence.sides(contrast, labelled=False)
        assert first.score.shape == (len(index),)
        assert np.isfinite(first.score).all()
        assert first.sha256 == second.sha256


@each_attack
def test_sees_people_only_where_it_says_so(spec, asked_tiny, evidence, monkeypatch):
    kind = type(build_attack(spec))
    contrast = asked_tiny.leak_contrast(spec)
    seen = []
    score = kind.score
    monkeypatch.setattr(kind, "score", lambda self, signals: seen.append(signals) or score(self, signals))
    run_contrast(spec, evidence, contrast)
    (signals,) = seen
    true = evidence.identity[evidence.sides(contrast, labelled=False)]
    assert set(signals.values) == {r.key for r in build_attack(spec).requests()}
    if kind.needs_gallery:
        assert (signals.identity == true).all()
    else:
        assert len(np.unique(signals.identity)) == len(signals) > len(np.unique(true))


@each_attack
def test_scores_do_not_depend_on_the_order_of_photos(spec, asked_tiny, evidence):
    attack = build_attack(spec)
    contrast = asked_tiny.leak_contrast(spec)
    if attack.knowledge in LABELLED:
        known = evidence.sides(contrast, labelled=True)
        attack.fit(narrowed(evidence.signals, attack, known), evidence.labels(known, contrast))
    asked = evidence.sides(contrast, labelled=False)
    order = np.random.default_rng(0).permutation(len(asked))

    def scores(index: np.ndarray) -> np.ndarray:
        if attack.calibrates:
            attack.calibrate(query_shadows(attack, evidence, contrast, index))
        return attack.score(narrowed(evidence.signals, attack, index))

    np.testing.assert_allclose(scores(asked[order]), scores(asked)[order], rtol=1e-6, atol=1e-9)


@each_attack
def test_finds_the_planted_leak(spec, asked_tiny):
    scores = asked_tiny.scores(spec)[asked_tiny.leak_contrast(spec)]
    metrics, _ = contrast_metrics(scores, blind=0.5, seed=0)
    auc = metrics["auc"]
    print(f"planted leak, {spec.label}: AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]")
    wanted = planted_auc(spec)
    if wanted < 0.5:
        pytest.skip("this world does not leak what the attack looks for; test_planted_leaks.py plants it")
    assert auc.low > 0.5
    assert auc.value > wanted


def relabelled(side: np.ndarray, identity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels under which half of every member's photos, drawn at random, pass for seen."""
    labels = np.zeros(len(side), np.int64)
    for person in np.unique(identity[side == SEEN]):
        labels[rng.permutation(np.flatnonzero(identity == person))[: np.sum((identity == person) & (side == SEEN))]] = 1
    return labels


@each_attack
def test_is_at_chance_where_seen_photos_were_not_seen(spec, other_people):
    """On a backbone that overfitted other people, with seen and unseen drawn anew within each person: AUC 0.5 on average."""
    attack = build_attack(spec)
    if Contrast.SAMPLE not in attack.contrasts or not given(attack, other_people):
        pytest.skip("relabelled within people, or without a class for them, it has no meaning")
    rng = np.random.default_rng(7)
    side, labelled = other_people.populations.side, other_people.populations.labelled
    known, asked = (np.flatnonzero(np.isin(side, (SEEN, UNSEEN)) & (labelled == k)) for k in (True, False))
    values = []
    for _ in range(RELABELLINGS):
        attack = build_attack(spec)
        labels = relabelled(side, other_people.identity, rng)
        if attack.knowledge == Knowledge.PARTIAL:
            attack.fit(narrowed(other_people.signals, attack, known), labels[known])
        elif attack.knowledge == Knowledge.AUXILIARY:
            (shadow,) = other_people.shadows
            own = np.flatnonzero(np.isin(shadow.side, (SEEN, UNSEEN)))
            attack.fit(narrowed(shadow.signals, attack, own), (shadow.side[own] == SEEN).astype(np.int64))
        if attack.calibrates:
            attack.calibrate(query_shadows(attack, other_people, Contrast.SAMPLE, asked))
        try:
            score = attack.score(narrowed(other_people.signals, attack, asked))
        except NotApplicableError as error:
            pytest.skip(str(error))
        values.append(float(roc(score, labels[asked] == 1).auc()[0]))
    # Mann-Whitney under the null; that every person has photos on both sides makes it no larger
    positives = len(asked) / 2
    deviation = np.sqrt((2 * positives + 1) / (12 * positives**2))
    assert abs(np.mean(values) - 0.5) < 4 * deviation / np.sqrt(RELABELLINGS)
    assert np.std(values) < 2 * deviation


@pytest.mark.parametrize("name", sorted(a.name for a in ATTACKS))
def test_is_at_chance_on_an_untrained_backbone(name, tiny):
    """The order of rows, or anything else about seen photos but the training, must not tell them."""
    spec = AttackSpec(name=name)
    evidence = tiny.evidence([spec], make_untrained(tiny.track, tiny.folder))
    if not given(build_attack(spec), evidence):
        pytest.skip("an untrained backbone has no head")
    for contrast, scores in Asked(evidence).scores(spec).items():
        value, deviation = auc_estimate(scores, seed=0)
        assert abs(value - 0.5) < 4 * deviation, contrast


# Inversion attacks

INVERSIONS = list(registry.inversion_attacks().values())
# Enough of everything to move, little enough for a test: applied to the settings of these names.
SMALL = {"steps": 6, "pool": 24, "candidates": 24, "queries": 64, "population": 8, "generations": 3, "transforms": 2,
         "photos": 60, "latents": 3, "optimised": 2, "average": 2}  # fmt: skip
INVERSION_CASES = [
    (AttackSpec(name=a.name, settings={k: v for k, v in SMALL.items() if k in a.model_fields} | s), goal)
    for a in INVERSIONS
    for s in variants(a)
    for goal in a.goals
]
each_inversion = pytest.mark.parametrize(("spec", "goal"), INVERSION_CASES, ids=lambda x: getattr(x, "label", x))


@pytest.fixture(scope="module")
def rebuild(flow, tmp_path_factory):
    """Runs an attack for a goal, four images in two chunks; without a generator where ``generate`` is False."""
    generator = TinyGenerator(flow.populations.auxiliary)
    list(flow.shadows())
    sources = template_subjects(flow.populations, 2, seed=0).sources

    def run(spec: AttackSpec, goal: Goal, *, generate: bool = True) -> InversionImages | None:
        cache = tmp_path_factory.mktemp("rebuilt")
        (cache / "shadows").symlink_to(flow.folder / "shadows")  # trained once for all of them
        held = generator if generate else None
        runner = InversionRunner(flow.submission, flow.populations, cache, seed=0, chunk=2, generator=held)
        try:
            return runner.run(spec, goal, 4, sources if goal == Goal.TEMPLATE else None)
        except NotApplicableError as error:
            reasons.append(str(error))
            return None

    reasons: list[str] = []
    yield run
    assert all(len(reason) > 20 for reason in reasons)


def test_controls_are_there():
    assert {"random_latents", "nearest_public", "nearest_generator_training"} <= {a.name for a in INVERSIONS if a.control}
    assert {Goal.TEMPLATE, Goal.TRAINING_IDENTITIES} == {g for a in INVERSIONS if not a.control for g in a.goals}


@each_inversion
def test_inversion_gives_pictures_again_and_again(spec, goal, rebuild):
    """Images of the right size, the same from the same seed, whatever torch's random state was; the trace is finite."""
    first = rebuild(spec, goal)
    if first is None:
        assert spec.settings.keys() - SMALL.keys(), "with its defaults an attack can do what it says"
        pytest.skip("these settings have nothing to work on with this backbone")
    torch.manual_seed(1234)
    state = torch.get_rng_state()
    again = rebuild(spec, goal)
    assert torch.equal(state, torch.get_rng_state()), "an attack leaves torch's random state as it was"
    assert first.images.shape == (4, 3, 32, 32)
    assert first.images.dtype == torch.uint8
    assert torch.equal(first.images, again.images)
    assert np.isfinite(first.trace).all()
    assert first.images.float().std(0).mean() > 0.5, "four images, not four times one"


@each_inversion
def test_an_inversion_s_objective_falls(spec, goal, rebuild):
    if build_inversion(spec).control:
        pytest.skip("a control follows no objective")
    made = rebuild(spec, goal)
    if made is None:
        pytest.skip("these settings have nothing to work on with this backbone")
    assert len(made.trace) > 1
    assert min(made.trace[1:]) < made.trace[0]
    assert made.queries > 0


@pytest.mark.parametrize("plugin", INVERSIONS, ids=lambda p: p.name)
def test_without_a_generator_an_inversion_says_so(plugin, rebuild):
    """It uses none, or says what it lacks; it never fails otherwise."""
    for goal in plugin.goals:
        spec = AttackSpec(name=plugin.name, settings={k: v for k, v in SMALL.items() if k in plugin.model_fields})
        rebuild(spec, goal, generate=False)


@pytest.mark.parametrize("plugin", INVERSIONS, ids=lambda p: p.name)
def test_an_inversion_states_what_it_is(plugin):
    assert plugin.goals
    assert len(set(plugin.goals)) == len(plugin.goals)
    for settings in variants(plugin):
        assert isinstance(build_inversion(AttackSpec(name=plugin.name, settings=settings)).required_access(), Access)


# Defences


@each_defense
def test_a_defence_states_what_it_is(plugin):
    assert plugin.family in FAMILIES
    for flag in ("couples_samples", "trains_on_members", "needs_public", "post_hoc", "needs_batchnorm", "resets_statistics"):
        assert isinstance(getattr(plugin, flag), bool)
    assert plugin.honours <= TRAINING_STAGES
    assert plugin.honours == TRAINING_STAGES or plugin.fit is not Defense.fit
    stages = ("prepare", "fit", *TRAINING_STAGES)
    owns_training = any(getattr(plugin, stage) is not getattr(Defense, stage) for stage in stages)
    assert not (plugin.post_hoc and owns_training), "a post-hoc defence takes undefended weights as they are"


@each_defense
def test_adaptive_attacks_exist(plugin):
    for settings in variants(plugin):
        specs = build_defense(DefenseSpec(name=plugin.name, settings=settings)).adaptive_attacks()
        assert specs, "a defence that nobody adapted to is not ranked"
        assert len({s.label for s in specs}) == len(specs)
        for spec in specs:
            build_attack(spec)


@each_defense
def test_a_defence_trains_and_changes_what_it_claims(plugin, flow):
    spec = DefenseSpec(name=plugin.name)
    defended = flow.train(spec, name=f"contract-{plugin.name}")
    card, undefended = defended.card, flow.submission
    assert card.defenses == (DefenseSpec(name=plugin.name, settings=build_defense(spec).settings()),)
    if plugin.family == "none":
        assert defended.submission_id == undefended.submission_id
        return
    assert defended.submission_id != undefended.submission_id
    if not card.inference:
        assert defended.weights_sha256 != undefended.weights_sha256
    if plugin.post_hoc:
        assert card.training["base_submission"] == undefended.submission_id
    assert bool(card.additional_data) == build_defense(spec).uses_public()
    if plugin.family == "dp":
        assert card.claim is not None
        assert card.claim.covers == "model"
        assert card.norm != "batch", "BatchNorm mixes photos: no per-photo guarantee"


@each_defense
def test_the_same_seed_gives_the_same_weights(plugin, flow, tmp_path):
    spec = DefenseSpec(name=plugin.name)
    first = flow.train(spec, name=f"contract-{plugin.name}")
    again = World(flow.track, tmp_path)  # another folder: nothing to reuse
    assert again.train(spec).submission_id == first.submission_id
    assert again.train(spec, seed=1, name="other").submission_id != first.submission_id
