from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_world import UNDEFENDED

from benchmark.evaluation.audit.canaries import CanaryFile, draw_canaries, make_plan
from benchmark.evaluation.audit.canary_audit import (
    UNCLAIMED_DELTA,
    audit_canaries,
    check_claim,
    comparable_claim,
    open_canaries,
)
from benchmark.interfaces import FaceVeilError
from benchmark.submissions.card import Claim
from benchmark.training.build import make_submission

CLAIM = Claim(epsilon=0.1, delta=1e-6, unit="photo", accountant="in a test")


@pytest.fixture(scope="module")
def canaries(tiny):
    return draw_canaries(tiny.populations, make_plan("photo", "mislabelled", 160, 3))


@pytest.fixture(scope="module")
def trained(tiny, canaries, tmp_path_factory):
    folder = tmp_path_factory.mktemp("canaries")
    photos = canaries.training_set(tiny.populations.seen)
    schedule = tiny.track.training.model_copy(update={"epochs": 12})
    populations = replace(tiny.populations, track=tiny.track.model_copy(update={"training": schedule}))
    return make_submission(populations, UNDEFENDED, photos, seed=0, out=folder / "entry", work=folder / "work")


def claiming(submission, **fields):
    claim = CLAIM.model_copy(update=fields)
    return replace(submission, card=submission.card.model_copy(update={"claim": claim}))


def test_canaries_of_an_overfitted_backbone_prove_leakage_and_refute_a_small_claim(trained, tiny, canaries):
    found = audit_canaries(trained, tiny.populations, canaries)
    print("lower bounds", [(b.method, b.epsilon, b.ceiling) for b in found.lower], "AUC", found.auc.value)
    assert found.auc.value > 0.8
    assert {bound.method for bound in found.lower} == {"clopper_pearson", "one_run", "gaussian_one_run"}
    for bound in found.lower:
        assert 0 < bound.epsilon <= bound.ceiling
        assert bound.n == 160
        assert bound.delta == UNCLAIMED_DELTA
    assert (found.canaries, found.included) == (160, int(canaries.included.sum()))
    assert found.upper is None
    assert "no epsilon is claimed" in found.note
    check_claim(found)

    wrong = audit_canaries(claiming(trained), tiny.populations, canaries)
    assert wrong.upper.epsilon == 0.1
    assert all(bound.delta == CLAIM.delta for bound in wrong.lower)
    with pytest.raises(FaceVeilError, match=r"the claim is wrong: epsilon 0\.1 per photo is claimed") as refutation:
        check_claim(wrong)
    assert f"{max(b.epsilon for b in wrong.lower):.3g}" in str(refutation.value)
    check_claim(audit_canaries(claiming(trained, epsilon=50.0), tiny.populations, canaries))


def test_nothing_is_found_on_a_backbone_that_unrelated_models_the_canaries(tiny, canaries):
    found = audit_canaries(claiming(tiny.submission), tiny.populations, canaries, control=True)
    assert [bound.epsilon for bound in found.lower] == [0, 0, 0]
    assert found.auc.low < 0.5 < found.auc.high
    check_claim(found)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"unit": "person"}, "per person"), ({"covers": "bn_statistics"}, "bn statistics alone")],
)
def test_a_claim_about_something_else_is_no_upper_bound(fields, reason):
    claim, why = comparable_claim(CLAIM.model_copy(update=fields), "photo")
    assert claim is None
    assert reason in why
    assert comparable_claim(CLAIM, "photo") == (CLAIM, "")


def test_a_secret_of_other_photos_or_with_changed_coins_is_refused(tiny, canaries):
    populations = tiny.populations
    coins = tuple(canaries.included.tolist())
    fields = {"track": "tiny", "submission_id": "x", "split_digest": populations.split_digest, "plan": canaries.plan}
    again = open_canaries(CanaryFile(**fields, included=coins), populations)
    assert again.photos.digest == canaries.photos.digest
    with pytest.raises(FaceVeilError, match="contradicts itself"):
        open_canaries(CanaryFile(**fields, included=tuple(not coin for coin in coins)), populations)
    with pytest.raises(FaceVeilError, match="drawn on other photos"):
        open_canaries(CanaryFile(**{**fields, "split_digest": "other"}, included=coins), populations)
