from __future__ import annotations

import numpy as np
import pytest
from submission_factory import make_submission

from benchmark.data.populations import HELD_OUT, SEEN, UNSEEN
from benchmark.evaluation.membership.evidence import Evidence, Shadows, gather, requested
from benchmark.interfaces import Access, AttackSpec, BackboneSpec, Contrast, Knowledge
from benchmark.protocol.registry import build_attacks
from benchmark.signals.answers import Embedding
from benchmark.signals.target import Target
from benchmark.training.build import make_untrained
from benchmark.training.shadows import reference_pairs

BN = AttackSpec(name="bn_distance")
BN_AUXILIARY = AttackSpec(name="bn_distance", settings={"knowledge": "auxiliary"})
NORM = AttackSpec(name="embedding_norm")
VIEWS = AttackSpec(name="encoder_mi")
REGROWN = AttackSpec(name="regrown_head")


def gathered(flow, specs, submission=None, **options) -> Evidence:
    return gather(Target(submission or flow.submission, Access.WEIGHTS), flow.populations, build_attacks(specs), **options)


@pytest.fixture(scope="module")
def grouped(flow):
    """A backbone of the flow world without BatchNorm."""
    backbone = BackboneSpec(name="iresnet_slim", kwargs={"width": 0.125, "embedding_size": 16, "norm": "group"})
    return make_untrained(flow.track.model_copy(update={"backbone": backbone}), flow.folder)


def test_the_union_of_requests_asks_for_nothing_twice():
    union = requested(build_attacks([BN, BN_AUXILIARY, NORM, REGROWN, VIEWS]))
    assert len(union) == len(set(union)) == 1 + 10
    assert [r.key for r in requested(build_attacks([BN, BN_AUXILIARY]), lambda a: a.knowledge == Knowledge.AUXILIARY)] == [
        "norm.mean.stored.identity"
    ]
    assert requested(build_attacks([BN, NORM]), lambda a: a.knowledge == Knowledge.NONE) == ()


def test_one_pass_a_view_over_the_target_for_all_attacks(flow):
    passed = []
    target = Target(flow.submission, Access.WEIGHTS)
    target.backbone.register_forward_hook(lambda _m, args, _out: passed.append(len(args[0])))
    gather(target, flow.populations, build_attacks([BN, NORM, REGROWN, VIEWS]))
    assert sum(passed) == 10 * len(flow.populations.queried)


def test_sides_and_labels_by_contrast(flow):
    evidence = gathered(flow, [NORM])
    side, labelled = evidence.populations.side, evidence.populations.labelled
    for contrast, (positive, negative) in {
        Contrast.SAMPLE: (SEEN, UNSEEN),
        Contrast.IDENTITY: (UNSEEN, HELD_OUT),
        Contrast.PAPER: (SEEN, HELD_OUT),
    }.items():
        known, asked = (evidence.sides(contrast, labelled=k) for k in (True, False))
        assert set(side[known]) == set(side[asked]) == {positive, negative}
        assert labelled[known].all()
        assert not labelled[asked].any()
        assert len(known) + len(asked) == np.isin(side, (positive, negative)).sum()
        assert (evidence.labels(asked, contrast) == (side[asked] == positive)).all()
        assert not set(evidence.identity[known]) & set(evidence.identity[asked]), "fitted and tested on disjoint people"


def test_signals_are_those_of_the_queried_photos(flow):
    evidence = gathered(flow, [REGROWN], extra=(Embedding(view="flip"),))
    target = Target(flow.submission, Access.EMBEDDING)
    images = flow.populations.queried.load(np.arange(len(flow.populations.queried)))
    np.testing.assert_allclose(evidence.signals.values["embedding.identity"], target.embed(images), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(evidence.signals.values["embedding.flip"], target.embed(images.flip(-1)), rtol=1e-4, atol=1e-4)
    assert (evidence.identity == flow.populations.queried.identity).all()


def test_what_a_backbone_cannot_give_is_noted_with_its_reason(flow, grouped):
    evidence = gathered(flow, [BN, REGROWN], grouped)
    assert set(evidence.missing_on_target) == {"norm.mean.stored.identity"}
    assert "statistics=feature_means" in evidence.missing_on_target["norm.mean.stored.identity"]
    assert set(evidence.signals.values) == {"embedding.identity"}


def test_feature_means_serve_any_backbone(flow, grouped):
    spec = AttackSpec(name="bn_distance", settings={"statistics": "feature_means"})
    evidence = gathered(flow, [spec], grouped)
    assert not evidence.missing_on_target
    assert np.isfinite(evidence.signals.values["norm.mean.feature_means.identity"]).all()


def test_only_attacks_that_use_shadows_wake_them(flow):
    trained = []

    def pool():
        for shadow in flow.shadows():
            trained.append(shadow)
            yield shadow

    assert gathered(flow, [BN, NORM], shadows=Shadows(pool())).shadows == []
    assert not trained
    evidence = gathered(flow, [BN, BN_AUXILIARY, NORM], shadows=Shadows(pool()))
    (shadow,) = evidence.shadows
    assert set(shadow.signals.values) == {"norm.mean.stored.identity"}, "a shadow is asked for what its attack needs"
    assert len(shadow.signals) == len(shadow.side) == len(trained[0].photos)
    assert not set(shadow.signals.identity) & set(evidence.identity)


def test_estimated_statistics_come_from_public_photos_or_known_members(flow, monkeypatch):
    """Never from the photos that are asked about."""
    from benchmark.evaluation.membership import evidence as module

    used = {}
    estimate = module.estimated_statistics
    monkeypatch.setattr(
        module,
        "estimated_statistics",
        lambda target, photos, reference: used.update({reference: photos}) or estimate(target, photos, reference),
    )
    specs = [AttackSpec(name="bn_distance", settings={"statistics": s}) for s in ("auxiliary", "partial", "feature_means")]
    gathered(flow, specs)
    public = flow.populations.source(reference_pairs(flow.populations), "reference")
    assert used["auxiliary"].digest == used["feature_means"].digest == public.digest
    populations = flow.populations
    known = np.flatnonzero(populations.labelled & (populations.side == SEEN))
    assert used["partial"].digest == populations.queried.take(known).digest


def test_the_stored_statistics_need_no_estimate(flow, monkeypatch):
    from benchmark.evaluation.membership import evidence as module

    monkeypatch.setattr(module, "estimated_statistics", lambda *_: pytest.fail("estimated without being asked"))
    gathered(flow, [BN, REGROWN])


def test_a_submission_from_elsewhere_is_read_alike(flow, tmp_path):
    """Another architecture and embedding size on the same photos."""
    evidence = gathered(flow, [BN, REGROWN], make_submission(tmp_path / "other"))
    assert evidence.signals.values["embedding.identity"].shape[1] == 16
    assert evidence.signals.values["norm.mean.stored.identity"].shape[1] > 20


def test_other_backbones_are_read_on_the_same_photos_for_attacks_that_use_them(flow):
    lira = AttackSpec(name="lira")
    assert gathered(flow, [NORM], shadows=Shadows(pool=flow.others())).pool == []
    evidence = gathered(flow, [NORM, lira], shadows=Shadows(pool=flow.others()))
    assert [model.populations.number for model in evidence.pool] == [1, 2]
    for model in evidence.pool:
        assert set(model.signals.values) == {"embedding.identity"}, "asked for what the attack needs"
        assert (model.signals.identity == evidence.identity).all()
        assert (model.populations.side != evidence.populations.side).any()
