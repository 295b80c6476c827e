from __future__ import annotations

import numpy as np
from similar_people import similar_people

from attacks.membership.slmia import SIMILARITY, SLMIA, statistics
from attacks.shared.people import PeopleCosines
from benchmark.evaluation.membership.scores import training_signals
from benchmark.evaluation.membership.summary import run_attack
from benchmark.interfaces import AttackSpec, Contrast
from benchmark.metrics.roc import auc
from benchmark.protocol.registry import build_attack


def test_there_are_120_statistics():
    people = PeopleCosines.of(similar_people(12, 4, np.full(12, 0.5)), SIMILARITY)
    found = statistics(people)
    assert found.shape == (12, 120)
    assert np.isfinite(found).all()


def test_people_whose_photos_are_alike_pass_for_members():
    members = np.arange(60) < 30
    attack = SLMIA()
    attack.fit(similar_people(60, 4, np.where(members, 0.3, 0.8)), np.repeat(members, 4).astype(int))
    score = attack.score(similar_people(60, 4, np.where(members, 0.3, 0.8), seed=1))
    assert auc(score, np.repeat(members, 4)) > 0.9
    assert all(len(np.unique(score[p * 4 : p * 4 + 4])) == 1 for p in range(60)), "one score a person"


def test_mixing_learns_from_seen_and_unseen_photos_of_members(tiny):
    mixed = AttackSpec(name="slmia")
    plain = AttackSpec(name="slmia", settings={"mixing": False})
    evidence = tiny.evidence([mixed, plain])
    sizes = [len(training_signals(build_attack(s), evidence, Contrast.IDENTITY)[1]) for s in (mixed, plain)]
    assert sizes[0] > sizes[1]
    result, _ = run_attack(mixed, evidence, adaptive=False, blind={}, seed=0)
    assert result.status == "ok"
