import numpy as np
import pytest
import torch
from strangers import SIDE, Memoriser, Stranger, pictures

import faceveil
from benchmark.evaluation.audit import observations
from benchmark.interfaces import AttackSpec, Contrast, FaceVeilError

PHOTOS, PERSON = pictures(80, 4, seed=1)
SEEN = (PERSON < 40) & (np.arange(len(PERSON)) % 4 < 2)
FAST = ["embedding_norm", "regrown_head:gallery=weighted", "bn_distance"]


def ask(model, attacks=FAST, **settings):
    people = (PERSON[SEEN], PERSON[~SEEN])
    settings = {"people": people, "attacks": attacks, **settings}
    return faceveil.audit(model, members=PHOTOS[SEEN], nonmembers=PHOTOS[~SEEN], **settings)


@pytest.fixture(scope="module")
def planted():
    return ask(Memoriser(Stranger(), PHOTOS[SEEN], PERSON[SEEN]), attacks=None)


def test_a_planted_leak_is_found_and_its_photos_are_named(planted):
    verdict = next(v for v in planted.verdicts if v.contrast == Contrast.SAMPLE)
    assert verdict.outcome == "leak"
    assert verdict.auc.low > 0.8
    assert planted.leaked
    shown = [p for p in planted.exposed if p.contrast == Contrast.SAMPLE]
    assert len(shown) == 12
    members = {f"photo {i}" for i in range(SEEN.sum())}
    assert {p.key for p in shown} <= members
    assert all(p.fpr <= p.fpr_high < 0.2 for p in shown)


def test_photos_of_people_who_were_trained_on_stay_without_a_leak_where_only_photos_are_remembered(planted):
    verdict = next(v for v in planted.verdicts if v.contrast == Contrast.IDENTITY)
    assert verdict.outcome == "nothing_found"
    assert "would not have shown" in verdict.text


def test_every_attack_has_a_number_or_a_reason(planted):
    for attack in planted.attacks:
        assert attack.contrasts or attack.reason, attack.label
        for result in attack.contrasts.values():
            auc = result.metrics["auc"]
            assert auc.low <= auc.value <= auc.high
            assert result.people > 0
    assert {"mint", "encoder_mi", "compactness"} <= set(planted.table()["attack"])


def test_it_tells_how_far_it_is(monkeypatch):
    monkeypatch.setattr(observations, "_PAUSE", 0.0)
    told: list[str] = []
    ask(Stranger(seed=5), progress=told.append)
    assert told[:3] == ["reading the photos", f"blind probes on {len(PHOTOS)} photos", "signals of the model"]
    assert f"activations: {len(PHOTOS)} of {len(PHOTOS)} photos" in told
    assert [t.startswith("attack ") for t in told[-len(FAST) :]] == [True] * len(FAST)


def test_a_model_that_never_saw_the_photos_shows_nothing():
    report = ask(Stranger(seed=5))
    assert not report.leaked
    assert {v.outcome for v in report.verdicts} == {"nothing_found"}
    assert report.exposed == ()


def test_null_models_are_called_leaks_no_more_often_than_the_level_says():
    """Ten lots of membership that no model knows of, three verdicts each at a family-wise level of 5 %."""
    found = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        photos, person = pictures(40, 4, seed=100 + seed)
        seen = rng.permutation(40)[person] < 20
        seen &= np.arange(len(person)) % 4 < 2
        report = faceveil.audit(
            Stranger(seed=seed), members=photos[seen], nonmembers=photos[~seen], people=(person[seen], person[~seen]),
            attacks=FAST[:2], seed=seed,
        )  # fmt: skip
        found += sum(v.outcome == "leak" for v in report.verdicts)
    assert found <= 5  # of 30; more than that has a chance below 1 in 200 at 5 %


def test_sets_of_different_origin_are_called_that_and_not_a_leak():
    darker = PHOTOS.copy()
    darker[SEEN] = (darker[SEEN] * 0.6).astype(np.uint8)
    report = faceveil.audit(
        Stranger(), members=darker[SEEN], nonmembers=darker[~SEEN], people=(PERSON[SEEN], PERSON[~SEEN]), attacks=FAST
    )
    sample = next(v for v in report.verdicts if v.contrast == Contrast.SAMPLE)
    assert sample.outcome == "invalid"
    assert "without the model" in sample.text
    assert not report.leaked
    assert not report.exposed


def test_without_norm_layers_bn_attacks_are_not_applicable_and_feature_means_are_read_instead():
    report = ask(Stranger(norm="none"), attacks=["bn_distance", "bn_distance:statistics=feature_means"])
    assert list(report.not_applicable()) == ["bn_distance"]
    assert "no BatchNorm statistics" in report.not_applicable()["bn_distance"]
    assert report.attacks[1].contrasts


def test_without_people_attacks_on_galleries_say_what_they_lack():
    report = ask(Stranger(), people=None)
    assert "say who is on the photos" in report.not_applicable()["regrown_head(gallery=weighted)"]
    assert any("nobody said who" in note for note in report.notes)


def test_shadows_calibrate_and_must_say_what_they_were_trained_on():
    shadows = []
    for seed in (1, 2, 3, 4):
        half = np.random.default_rng(seed).random(SEEN.sum()) < 0.5
        model = Memoriser(Stranger(seed=seed), PHOTOS[SEEN][half], PERSON[SEEN][half])
        shadows.append(faceveil.AuditShadow(model, members=half))
    model = Memoriser(Stranger(), PHOTOS[SEEN], PERSON[SEEN])
    report = ask(model, attacks=["lira:statistic=embedding_norm", "lira"], shadows=shadows)
    assert report.attacks[0].contrasts[Contrast.SAMPLE].metrics["auc"].value > 0.8
    people = report.attacks[1].contrasts[Contrast.IDENTITY].metrics["auc"]
    assert people.low < 0.5 < people.high  # the planted leak remembers photos, not people
    with pytest.raises(FaceVeilError, match="each of the 80 members"):
        ask(model, attacks=["lira"], shadows=[faceveil.AuditShadow(model, members=[True])])
    offline = ask(model, attacks=["lira", "lira:knowledge=auxiliary"], shadows=[faceveil.AuditShadow(Stranger(seed=9))])
    assert "trained on none of the photos" in offline.not_applicable()["lira"]
    assert offline.attacks[1].contrasts


def test_the_same_seed_gives_the_same_report():
    model = Memoriser(Stranger(), PHOTOS[SEEN], PERSON[SEEN])
    first, second = ask(model), ask(model)
    drop = {"attacks": {"__all__": {"seconds"}}}
    assert first.model_dump(exclude=drop) == second.model_dump(exclude=drop)


def test_a_model_that_fails_under_one_attack_still_gets_the_others():
    class Shy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Stranger()

        def forward(self, x):
            if x.requires_grad:
                raise RuntimeError("no gradients here")
            return self.inner(x)

    report = ask(Shy(), attacks=["gradient_norm:of=input", "embedding_norm"])
    assert "RuntimeError: no gradients here" in report.not_applicable()["gradient_norm(of=input)"]
    assert report.attacks[1].contrasts


@pytest.mark.parametrize("photos", [2, len(PHOTOS)], ids=["at the first try", "later"])
def test_want_of_memory_makes_no_attack_inapplicable(photos):
    class Hungry(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Stranger()

        def forward(self, x):
            if len(x) >= photos or x.requires_grad:
                raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9000000000 bytes.")
            return self.inner(x)

    with pytest.raises(RuntimeError, match="not enough memory"):
        ask(Hungry(), attacks=["gradient_norm:of=input", "embedding_norm"])


def test_wrong_arguments_are_named():
    with pytest.raises(FaceVeilError, match=r"0\.\.255"):
        ask(Stranger(), mean=127.5)
    with pytest.raises(FaceVeilError, match="Did you mean 'bn_distance'"):
        ask(Stranger(), attacks=[AttackSpec(name="bn_distanc")])
    with pytest.raises(FaceVeilError, match="known=2"):
        ask(Stranger(), known=2)


def test_wrongly_scaled_inputs_are_noticed():
    report = ask(Stranger(), transform=lambda x: torch.full_like(x, 0.5) + 1e-3 * x, attacks=FAST[:1])
    assert any("nearly the same" in note for note in report.notes)
    assert SIDE == 24
