from __future__ import annotations

from benchmark.evaluation.eligibility import reasons_unranked
from benchmark.interfaces import DefenseSpec
from benchmark.records.results import Gate
from defenses.mem_guard import MemGuard


def test_the_weights_are_those_of_the_undefended_run(flow):
    guarded = flow.train(DefenseSpec(name="mem_guard"), name="guarded")
    assert guarded.submission_id == flow.submission.submission_id
    assert guarded.card.inference is None


def test_the_card_says_that_it_does_not_apply(flow):
    card = flow.train(DefenseSpec(name="mem_guard"), name="guarded").card
    assert [d.name for d in card.defenses] == ["mem_guard"]
    assert "softmax" in card.training["not_applicable"]["mem_guard"]


def test_it_is_never_ranked():
    gate = Gate(valid=True, probes=())
    (reason,) = reasons_unranked(True, gate, [], [MemGuard()], 1, [])
    assert reason.startswith("mem_guard not applicable: MemGuard perturbs softmax outputs")
