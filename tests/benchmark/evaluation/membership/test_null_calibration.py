from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import ClassVar, Literal

import numpy as np
import pytest

from benchmark.data.populations import HELD_OUT, SEEN, UNSEEN
from benchmark.evaluation.membership import null_calibration as null_calibration_module
from benchmark.evaluation.membership.evidence import Evidence
from benchmark.evaluation.membership.null_calibration import (
    OUTSIDE,
    Coverage,
    auc_interval,
    coverage,
    draw_sides,
    null_calibration,
    relabelled,
)
from benchmark.evaluation.membership.scores import Scores
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

REQUEST = SignalRequest(layers="embedding")


@dataclass(frozen=True)
class Lottery:
    """Populations without photos."""

    side: np.ndarray
    labelled: np.ndarray
    track: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(partial_share=0.5))

    def relabelled(self, side, labelled):
        return replace(self, side=side, labelled=labelled)


def lottery(people=40, photos=2, kinship=0.0, seed=0):
    """As many members as held-out people; ``kinship`` is how alike the signals of one person's photos are."""
    rng = np.random.default_rng(seed)
    side = np.repeat([SEEN, UNSEEN, HELD_OUT], people * photos)
    members = np.repeat(np.arange(people), photos)
    identity = np.concatenate([members, members, members + people])
    signal = rng.normal(size=len(side)) + kinship * rng.normal(size=2 * people)[identity]
    labelled = np.isin(identity, np.arange(0, 2 * people, 2))
    return Evidence(Lottery(side, labelled), Signals({REQUEST.key: signal[:, None]}, identity))  # type: ignore[arg-type]


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


def test_within_people_seen_and_unseen_change_places():
    evidence = lottery(people=6, photos=3)
    side, identity = evidence.populations.side, evidence.identity
    rng = np.random.default_rng(0)
    draws = [draw_sides(side, identity, Contrast.SAMPLE, rng) for _ in range(200)]
    for drawn in draws[:5]:
        for person in np.unique(identity):
            assert sorted(drawn[identity == person]) == sorted(side[identity == person])
        assert (drawn[side == HELD_OUT] == HELD_OUT).all()
    share = np.mean([drawn == SEEN for drawn in draws], axis=0)[side != HELD_OUT]
    assert abs(share - 0.5).max() < 4 * 0.5 / np.sqrt(200)


@pytest.mark.parametrize(("contrast", "positive"), [(Contrast.IDENTITY, UNSEEN), (Contrast.PAPER, SEEN)])
def test_whole_people_change_places(contrast, positive):
    evidence = lottery(people=6, photos=3)
    side, identity = evidence.populations.side, evidence.identity
    rng = np.random.default_rng(0)
    draws = [draw_sides(side, identity, contrast, rng) for _ in range(200)]
    for drawn in draws[:5]:
        left_out = ~np.isin(side, (positive, HELD_OUT))
        assert (drawn[left_out] == OUTSIDE).all()
        assert (drawn == positive).sum() == (side == positive).sum()
        assert all(len(set(drawn[(identity == p) & ~left_out])) == 1 for p in np.unique(identity))
    share = np.mean([drawn == positive for drawn in draws], axis=0)[side == HELD_OUT]
    assert abs(share - 0.5).max() < 4 * 0.5 / np.sqrt(200)


def test_a_draw_changes_labels_and_no_signal():
    evidence = lottery()
    drawn = relabelled(evidence, Contrast.IDENTITY, np.random.default_rng(1))
    assert drawn.signals is evidence.signals
    assert (evidence.populations.side == lottery().populations.side).all()
    for known in (True, False):
        index = drawn.sides(Contrast.IDENTITY, labelled=known)
        labels = drawn.labels(index, Contrast.IDENTITY)
        assert labels.sum() == len(labels) / 2 == 40
        assert len(np.unique(drawn.identity[index])) == 40
    same_people = relabelled(evidence, Contrast.SAMPLE, np.random.default_rng(1))
    assert (same_people.populations.labelled == evidence.populations.labelled).all()


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
