from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import ClassVar, Literal

import numpy as np
import pytest

from benchmark.data.memberships import HELD_OUT, SEEN, SPARE, UNSEEN, draw
from benchmark.evaluation.membership import null_calibration as null_calibration_module
from benchmark.evaluation.membership.evidence import Evidence
from benchmark.evaluation.membership.null_calibration import (
    Coverage,
    auc_interval,
    coverage,
    null_calibration,
    relabelled,
)
from benchmark.evaluation.membership.pooling import Scores
from benchmark.interfaces import (
    Access,
    AttackSpec,
    Contrast,
    FaceVeilError,
    Knowledge,
    MembershipAttack,
    NotApplicableError,
    Reference,
    Signals,
)
from benchmark.signals.answers import Embedding

REQUEST = Embedding()


@dataclass(frozen=True)
class Lottery:
    """Populations without photos."""

    side: np.ndarray
    labelled: np.ndarray
    queried_pairs: np.ndarray
    number: int = 0
    track: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(partial_share=0.5, split_seed=0))

    def relabelled(self, side, labelled):
        return replace(self, side=side, labelled=labelled)


def lottery(people=80, photos=4, kinship=0.0, seed=0):
    """A pool of people; ``kinship`` is how alike the signals of one person's photos are."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(people), photos)
    pairs = np.column_stack([identity, np.tile(np.arange(photos), people)])
    signal = rng.normal(size=len(identity)) + kinship * rng.normal(size=people)[identity]
    populations = Lottery(draw(identity, seed, 0).side, identity % 2 == 0, pairs)
    return Evidence(populations, Signals({REQUEST.key: signal[:, None]}, identity))  # type: ignore[arg-type]


class Plain(MembershipAttack):
    """The signal itself."""

    name: ClassVar[str] = "plain"
    summary: ClassVar[str] = "The signal itself."
    reference: ClassVar[Reference] = Reference(title="a test")
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE, Contrast.IDENTITY)

    def requests(self):
        return (REQUEST,)

    def score(self, signals):
        return signals[REQUEST][:, 0]


class Learning(Plain):
    """The signal, in the direction that the labels say."""

    name: ClassVar[str] = "learning"
    knowledge: Literal[Knowledge.PARTIAL] = Knowledge.PARTIAL

    def fit(self, signals, labels):
        values = signals[REQUEST][:, 0]
        object.__setattr__(self, "_direction", np.sign(values[labels == 1].mean() - values[labels == 0].mean()))

    def score(self, signals):
        return signals[REQUEST][:, 0] * self._direction


@pytest.fixture
def specs(plugin_table):
    for attack in (Plain, Learning):
        plugin_table(attack)
    return [AttackSpec(name="plain"), AttackSpec(name="learning")]


# Drawing


def test_a_draw_is_by_the_rule_of_every_backbone_and_changes_no_signal():
    evidence = lottery()
    drawn = relabelled(evidence, 1)
    assert drawn.signals is evidence.signals
    assert (evidence.populations.side == lottery().populations.side).all(), "the evidence itself is left alone"
    assert (drawn.populations.labelled == evidence.populations.labelled).all()
    side, identity = drawn.populations.side, evidence.identity
    assert len(np.unique(identity[side == SEEN])) == 40
    for person in np.unique(identity):
        assert sorted(side[identity == person]) in ([SEEN, SEEN, UNSEEN, UNSEEN], [HELD_OUT, HELD_OUT, SPARE, SPARE])


def test_draws_are_independent_of_each_other_and_of_the_backbones_own():
    evidence = lottery(people=30)
    draws = np.stack([relabelled(evidence, n).populations.side == SEEN for n in range(300)])
    assert abs(draws.mean(0) - 0.25).max() < 4.5 * np.sqrt(0.25 * 0.75 / 300), "half of the people, half of their photos"
    own = evidence.populations.side == SEEN
    agreement = np.corrcoef(draws.mean(0), own)[0, 1]
    assert abs(agreement) < 4 / np.sqrt(len(own))


def test_populations_take_other_sides(flow):
    populations = flow.populations
    side = np.roll(populations.side, 1)
    other = populations.relabelled(side, ~populations.labelled)
    assert (other.side == side).all()
    assert (other.labelled == ~populations.labelled).all()
    assert (populations.side != side).any()
    assert other.queried.digest == populations.queried.digest


# Coverage


def test_intervals_over_people_hold(specs):
    found = null_calibration([lottery(kinship=1.0, seed=s) for s in (0, 1)], specs, relabellings=60)
    assert [(c.label, c.contrast) for c in found] == [(s.name, c) for s in specs for c in Plain.contrasts]
    for result in found:
        print(result.label, result.contrast.value, result.covered, result.trials, f"{result.mean_auc:.3f}")
        assert result.accepted(len(found))
        assert abs(result.mean_auc - 0.5) < 0.03
        assert result.trials == 60 == result.covered + result.above + result.below


def test_intervals_over_photos_of_people_who_look_alike_are_caught(specs, monkeypatch):
    """The error that the check is made for: photos of one person taken for independent."""
    over_people = auc_interval
    monkeypatch.setattr(
        null_calibration_module,
        "auc_interval",
        lambda s, seed: over_people(Scores(s.score, s.label, np.arange(len(s.score))), seed),
    )
    evidence = [lottery(people=40, photos=6, kinship=3.0)]
    result = coverage(specs[0], evidence, Contrast.IDENTITY, relabellings=60, seed=0)
    assert result.covered < 50
    assert not result.accepted(20)


def test_too_few_hits_are_refused_and_too_many_are_not():
    def result(covered):
        return Coverage("x", Contrast.SAMPLE, 1000, 1000 - covered, 0, 0.5)

    assert result(950).accepted(1)
    assert not result(930).accepted(1)
    assert result(930).accepted(40), "one of forty may be that unlucky"
    assert not result(920).accepted(40)
    assert result(1000).accepted(1)
    assert result(1000).p_value("greater") < 1e-6
    assert result(1000).p_value("two-sided") < 1e-6


def test_every_draw_fits_the_attack_anew_and_repeats(specs):
    evidence = [lottery()]
    one, two = (coverage(specs[1], evidence, Contrast.SAMPLE, relabellings=5, seed=3) for _ in range(2))
    assert one == two
    assert coverage(specs[1], evidence, Contrast.SAMPLE, relabellings=5, seed=4).mean_auc != one.mean_auc


def test_what_is_not_applicable_is_left_out_and_draws_without_an_interval_fail(specs, monkeypatch):
    evidence = lottery()

    def inapplicable(self, signals):
        raise NotApplicableError("not here")

    with monkeypatch.context() as patch:
        patch.setattr(Plain, "score", inapplicable)
        assert {c.label for c in null_calibration([evidence], specs, relabellings=1)} == {"learning"}
    assert null_calibration([replace(evidence, missing_on_target={REQUEST.key: "none"})], specs, relabellings=2) == []
    nobody = replace(evidence, populations=replace(evidence.populations, labelled=np.ones(len(evidence.signals), bool)))
    with pytest.raises(FaceVeilError):
        coverage(specs[0], [nobody], Contrast.SAMPLE, relabellings=1, seed=0)
