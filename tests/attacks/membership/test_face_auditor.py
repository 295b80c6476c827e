from __future__ import annotations

import numpy as np
import pytest
from similar_people import similar_people

from attacks.membership.face_auditor import FaceAuditor
from benchmark.evaluation.membership.summary import run_attack
from benchmark.interfaces import Access, AttackSpec, Contrast, NotApplicableError
from benchmark.metrics.roc import auc


@pytest.mark.parametrize("classifier", ["forest", "network"])
def test_people_whose_photos_are_alike_pass_for_members(classifier):
    members = np.arange(40) < 20
    attack = FaceAuditor(classifier=classifier, tasks=10)
    attack.fit(similar_people(40, 4, np.where(members, 0.3, 1.0)), np.repeat(members, 4).astype(int))
    score = attack.score(similar_people(40, 4, np.where(members, 0.3, 1.0), seed=1))
    assert auc(score, np.repeat(members, 4)) > 0.9
    assert all(len(np.unique(score[p * 4 : p * 4 + 4])) == 1 for p in range(40)), "one score a person"


def test_fewer_photos_make_fewer_shots_and_one_is_refused():
    members = np.arange(40) < 20
    attack = FaceAuditor(tasks=5)
    attack.fit(similar_people(40, 3, np.where(members, 0.3, 1.0)), np.repeat(members, 3).astype(int))
    assert attack._shots == 2
    with pytest.raises(NotApplicableError, match="probes of 2 shots"):
        attack.score(similar_people(10, 2, np.full(10, 0.3)))
    with pytest.raises(NotApplicableError, match="are fewer than the 5 of a task"):
        attack.score(similar_people(4, 3, np.full(4, 0.3)))


def test_needs_similarities_alone(tiny):
    spec = AttackSpec(name="face_auditor", settings={"tasks": 10})
    result, _ = run_attack(spec, tiny.evidence([spec]), adaptive=False, blind={}, seed=0)
    assert result.access == Access.SIMILARITY
    assert set(result.contrasts) == {Contrast.IDENTITY, Contrast.PAPER}
