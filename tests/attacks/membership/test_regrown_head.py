from __future__ import annotations

import numpy as np
import pytest

from attacks.membership.regrown_head import RegrownHead
from attacks.shared.centres import regrow, unit
from benchmark.evaluation.membership.scores import run_contrast
from benchmark.evaluation.membership.summary import run_attack
from benchmark.interfaces import Access, AttackSpec, Contrast, DefenseSpec, NotApplicableError, SettingsError, Signals
from benchmark.metrics.roc import auc
from benchmark.protocol.registry import build_attack

PLANTED_AUC = 0.8


def spec(**settings) -> AttackSpec:
    return AttackSpec(name="regrown_head", settings=settings)


def signals_of(embeddings: np.ndarray, people: np.ndarray) -> Signals:
    return Signals({"embedding.identity": embeddings}, people)


def test_the_mean_gallery_is_the_logit_under_the_mean_of_the_other_photos():
    rng = np.random.default_rng(0)
    people = np.array([7, 3, 3, 9, 7, 7, 9, 3, 9, 9])
    embeddings = rng.standard_normal((10, 5)) * rng.uniform(0.5, 4, (10, 1))
    found = RegrownHead(gallery="mean").score(signals_of(embeddings, people))
    numbered = np.unique(people, return_inverse=True)[1]
    np.testing.assert_allclose(found, regrow(unit(embeddings), numbered, 32.0).log_odds)


def test_who_is_who_matters(tiny):
    """On the overfitted backbone the leak is in the gallery: with people mixed up, the score finds less."""
    evidence = tiny.evidence([spec()])
    true = run_contrast(spec(), evidence, Contrast.SAMPLE)
    index = evidence.sides(Contrast.SAMPLE, labelled=False)
    mixed = Signals(
        {k: v[index] for k, v in evidence.signals.values.items()},
        np.random.default_rng(0).permutation(evidence.identity[index]),
    )
    assert auc(true.score, true.label) > auc(build_attack(spec(gallery="mean")).score(mixed), true.label) + 0.1


def test_one_photo_of_a_person_is_not_applicable():
    with pytest.raises(NotApplicableError, match="1 of 3 people have one photo only"):
        RegrownHead().score(signals_of(np.eye(5), np.array([0, 0, 1, 2, 2])))


def test_settings_that_it_does_not_have_are_refused():
    with pytest.raises(SettingsError, match="gallery"):
        build_attack(spec(gallery="best"))
    with pytest.raises(SettingsError, match="knowledge"):
        build_attack(spec(knowledge="everything"))


def test_weighing_photos_together_finds_more_than_the_mean(tiny):
    galleries = ("mean", "weighted", "joint", "marginal")
    evidence = tiny.evidence([spec(gallery=g) for g in galleries])
    found = []
    for gallery in galleries:
        scores = run_contrast(spec(gallery=gallery), evidence, Contrast.SAMPLE)
        found.append(auc(scores.score, scores.label))
    assert min(found[1:]) > found[0]


@pytest.mark.parametrize("gallery", ["mean", "weighted", "joint"])
def test_shadows_of_the_query_pool_calibrate(tiny, gallery):
    plain, calibrated = spec(gallery=gallery), spec(gallery=gallery, knowledge="query_pool")
    evidence = tiny.evidence([plain, calibrated])
    values = []
    for attack in (plain, calibrated):
        scores = run_contrast(attack, evidence, Contrast.SAMPLE)
        values.append(auc(scores.score, scores.label))
    assert values[1] > values[0] - 0.01
    assert values[1] > 0.9


def test_whole_people_are_judged_by_shadows_of_people(tiny):
    attack = spec(knowledge="query_pool")
    result, scores = run_attack(attack, tiny.evidence([attack]), adaptive=False, blind={}, seed=0)
    assert result.status == "ok"
    assert set(scores) == {Contrast.SAMPLE, Contrast.IDENTITY}
    assert "seen_vs_held_out" in {c.value for c in result.not_applicable}
    assert (
        "no shadow backbones for a 'query_pool' attacker on the seen_vs_held_out contrast"
        in result.not_applicable[Contrast.PAPER]
    )


def test_labels_of_whole_people_make_a_linear_rule(tiny):
    attack = spec(knowledge="partial")
    scores = run_contrast(attack, tiny.evidence([attack]), Contrast.PAPER)
    assert auc(scores.score, scores.label) > 0.9


def test_access_grows_with_what_is_asked():
    assert RegrownHead().required_access() == Access.EMBEDDING
    assert RegrownHead(queries=8).required_access() == Access.EMBEDDING
    assert RegrownHead(statistics="auxiliary").required_access() == Access.WEIGHTS
    assert RegrownHead(raw=True).required_access() == Access.WEIGHTS


def test_repairing_the_statistics_undoes_their_perturbation(flow):
    """Under noised statistics the repaired attack scores as on the clean model, and the plain one does not."""
    plain, repaired = RegrownHead(gallery="mean"), RegrownHead(gallery="mean", statistics="auxiliary")
    specs = [spec(gallery="mean"), spec(gallery="mean", statistics="auxiliary")]
    noised = flow.train(DefenseSpec(name="bn_perturbation", settings={"rho": 1.0}), name="regrown-noised")
    clean, perturbed = flow.evidence(specs), flow.evidence(specs, noised)
    difference = [np.abs(a.score(clean.signals) - a.score(perturbed.signals)).max() for a in (plain, repaired)]
    assert difference[0] > 0.1
    assert difference[1] < 1e-3
