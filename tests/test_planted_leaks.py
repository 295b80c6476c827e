"""Attacks that the overfitted world of ``tiny_world`` gives little to find, each on a leak of its own kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_leaks import TRACKS, Leak
from plugin_cases import ATTACK_SPECS, PLANTED_AUC, planted_auc
from tiny_world import World

from benchmark.evaluation.membership.null_calibration import relabelled
from benchmark.evaluation.membership.scores import run_contrast
from benchmark.interfaces import AttackSpec, Contrast
from benchmark.metrics.roc import auc

RELABELLINGS = 8
PEOPLE = ("compactness", "slmia", "face_auditor")  # whose scores are of people, whatever the contrast
LEAKS = {
    "views": ("encoder_mi", "gradient_norm"),
    "parts": ("part_crop",),
    "people": ("lira(statistic=compactness)", "rmia(statistic=compactness)", "bavaria(statistic=compactness)", *PEOPLE),
}


def own_kind(spec: AttackSpec) -> str | None:
    """The leak that an attack is made for, where it is not the one of ``tiny_world``."""
    found = [kind for kind, names in LEAKS.items() if spec.label in names or spec.name in names]
    return found[0] if found else None


CASES = [(own_kind(spec), spec) for spec in ATTACK_SPECS if own_kind(spec)]
each_case = pytest.mark.parametrize(("kind", "spec"), CASES, ids=lambda x: getattr(x, "label", x))


@pytest.fixture(scope="session")
def leak(tmp_path_factory):
    """Leaks by kind, each trained when first asked for."""
    found: dict[str, Leak] = {}

    def get(kind: str) -> Leak:
        if kind not in found:
            folder: Path = tmp_path_factory.mktemp(kind)
            found[kind] = Leak(kind, World(TRACKS[kind], folder))
        return found[kind]

    return get


def specs_of(kind: str) -> list[AttackSpec]:
    return [spec for k, spec in CASES if k == kind]


def test_an_attack_that_finds_little_in_the_tiny_world_has_a_leak_of_its_own():
    weak = {spec.label for spec in ATTACK_SPECS if planted_auc(spec) < PLANTED_AUC}
    assert weak <= {spec.label for _, spec in CASES}
    assert {spec.label for _, spec in CASES} >= {name for names in LEAKS.values() for name in names}, "a name is misspelt"


@pytest.mark.slow
@each_case
def test_finds_a_leak_of_its_kind(kind, spec, leak):
    planted = leak(kind)
    scores = run_contrast(spec, planted.evidence(specs_of(kind)), planted.contrast)
    found = auc(scores.score, scores.label)
    print(f"{spec.label} on a leak of {kind}: AUC {found:.3f}")
    assert found > PLANTED_AUC


@pytest.mark.slow
@each_case
def test_is_at_chance_where_the_leak_is_of_other_people(kind, spec, leak):
    """Membership drawn by lot over a backbone that leaks in the same way, about others."""
    planted = leak(kind)
    evidence = planted.evidence(specs_of(kind), planted.other)
    rng = np.random.default_rng(0)
    values = []
    for _ in range(RELABELLINGS):
        scores = run_contrast(spec, relabelled(evidence, planted.contrast, rng), planted.contrast)
        values.append(auc(scores.score, scores.label))
    units = len(np.unique(scores.identity)) if planted.contrast == Contrast.IDENTITY else len(scores.score)
    deviation = np.sqrt((units + 1) / (3 * units**2))  # Mann-Whitney under the null, halves of as many
    print(f"{spec.label}: {np.mean(values):.3f} on average, one deviation of a draw {deviation:.3f}")
    assert abs(np.mean(values) - 0.5) < 4 * deviation / np.sqrt(RELABELLINGS)
