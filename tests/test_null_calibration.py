"""Every attack's 95 % interval holds 0.5 where membership is drawn by lot; none is named here."""

from __future__ import annotations

import pytest

from benchmark.evaluation.membership.null_calibration import null_calibration
from benchmark.interfaces import AttackSpec, Contrast
from benchmark.protocol import registry
from benchmark.protocol.registry import build_attack, canonical
from benchmark.protocol.tracks import TRACKS
from benchmark.training.build import make_untrained

UNTRAINED = 20
DRAWS, FEW_DRAWS = 1000, 6


def every_attack() -> list[AttackSpec]:
    """The defaults of every attack, and those that tracks name."""
    specs = [AttackSpec(name=name) for name in registry.membership_attacks()]
    specs += [spec for track in TRACKS.values() for spec in track.attacks]
    named = [canonical(spec, build_attack(spec)) for spec in specs]
    return list({spec.label: spec for spec in named}.values())


def told(c):
    over, under = c.p_value("greater"), c.p_value()
    return (
        f"{c.label} on {c.contrast.value}: {c.covered} of {c.trials} hold 0.5 ({c.above} above, {c.below} below), "
        f"mean AUC {c.mean_auc:.4f}; P(so few) {under:.3g}, P(so many) {over:.3g}"
    )


def check(found, draws, tests):
    """``tests``: how many are made in all, for Bonferroni's bound."""
    assert found
    assert all(c.trials == draws for c in found)
    refused = [told(c) for c in found if not c.accepted(tests)]
    assert not refused, refused


def test_a_few_draws_on_a_trained_target(tiny):
    specs = every_attack()
    found = null_calibration([tiny.evidence(specs)], specs, relabellings=FEW_DRAWS)
    check(found, FEW_DRAWS, len(found))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({spec.name for spec in every_attack()}))
def test_many_draws_on_targets_trained_and_not(name, tiny):
    """An hour and a half in all: fitted anew on every draw, of a trained target and of the untrained ones in turn."""
    specs = [spec for spec in every_attack() if spec.name == name]
    untrained = [make_untrained(tiny.track, tiny.folder, seed) for seed in range(UNTRAINED)]
    targets = [tiny.evidence(specs, target) for target in (None, *untrained)]
    contrasts = (Contrast.SAMPLE, Contrast.IDENTITY)
    found = null_calibration(
        targets, specs, relabellings=DRAWS, contrasts=contrasts, progress=lambda c: print(told(c), flush=True)
    )
    if not found:
        pytest.skip("it has no meaning on some of the targets: untrained ones have no head")
    check(found, DRAWS, len(contrasts) * len(every_attack()))
