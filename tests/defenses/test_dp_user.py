from __future__ import annotations

import math

import dp_accounting
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from pydantic import ValidationError

from benchmark.interfaces import BackboneSpec, FaceVeilError
from benchmark.models.backbones import create
from benchmark.protocol.registry import build_attack
from benchmark.runtime.seeding import weights_digest
from benchmark.submissions.card import Claim
from defenses.dp_user import DPUser, people
from defenses.private.accounting import epsilon_rdp
from defenses.private.training import PrivateRun, private

NOISY = DPUser(noise_multiplier=1.0, users=2, rounds=5, lr=0.1)
SILENT = {"noise_multiplier": 1e-9, "max_grad_norm": 1e5}  # noise of 1e-4, nothing clipped


class Uneven:
    """Some of the photos of another set, so that people have different numbers of them."""

    def __init__(self, photos, positions) -> None:
        self.photos, self.positions = photos, np.array(positions)
        self.identity = photos.identity[self.positions]
        self.keys = [photos.keys[i] for i in self.positions]
        self.digest = f"{photos.digest}{positions}"

    def __len__(self) -> int:
        return len(self.positions)

    def load(self, index):
        return self.photos.load(self.positions[index])


def trained(make_trainer, defense: DPUser, **kwargs):
    trainer = make_trainer(defense, **kwargs)
    defense.fit(trainer)
    return trainer


def flat(trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in [*trainer.backbone.parameters(), *trainer.head.parameters()]])


def after_one_round(make_trainer, defense: DPUser, drawn: list[int], **kwargs):
    """A trainer after one round with the people drawn, and what moved."""
    trainer = make_trainer(defense, **kwargs)
    start, units = flat(trainer), people(np.asarray(trainer.photos.identity))
    with private(trainer, defense.steps()) as model:
        run = PrivateRun("dp_user", trainer, model, defense.plan(len(units)), defense.steps(), units)
        run.noise.manual_seed(1)
        run.step(np.array(drawn, np.int64), 0)
    return trainer, flat(trainer) - start


def test_a_round_is_the_mean_over_a_persons_photos_summed_over_people(make_trainer, photos):
    uneven = Uneven(photos, [0, 1, 2, 3, 6, 12, 13, 18, 24])  # people with 4, 1, 2, 1, 1 photos
    defense = DPUser(**SILENT, users=2, lr=0.01)
    _, moved = after_one_round(make_trainer, defense, [0, 1, 2], photos=uneven)
    plain = make_trainer(defense, photos=uneven)
    total = torch.zeros(())
    for positions in ([0, 1, 2, 3], [4], [5, 6]):
        images, labels = plain.batch(np.array(positions), 0)
        total = total + F.cross_entropy(plain.head(plain.backbone(images), labels), labels)
    gradients = torch.autograd.grad(total / 2, [*plain.backbone.parameters(), *plain.head.parameters()])
    step = -0.01 * torch.cat([g.flatten() for g in gradients])
    assert (moved - step).norm() < 1e-3 * step.norm()


@pytest.mark.parametrize("gradients", ["ghost", "hooks"])
def test_all_photos_of_a_person_move_the_weights_by_at_most_the_clip(make_trainer, gradients):
    """The sensitivity that the accountant assumes, head and backbone together: a round with and without one person."""
    defense = DPUser(noise_multiplier=0.5, max_grad_norm=0.1, users=2, lr=1.0, gradients=gradients)
    _, with_them = after_one_round(make_trainer, defense, [0, 3])
    _, without = after_one_round(make_trainer, defense, [0])
    assert 0.5 * 0.1 / 2 < (with_them - without).norm() <= 0.1 / 2 * 1.01


def test_a_persons_absence_changes_no_other_persons_gradient(make_trainer, photos):
    """The head's slot of somebody whose photos are missing stays, so that neighbours differ by one clipped update alone."""
    defense = DPUser(**SILENT, users=2, lr=0.01)
    _, moved = after_one_round(make_trainer, defense, [0, 1])
    shuffled = Uneven(photos, [*range(24), *range(12, 18)])  # the last person's photos exchanged for others
    shuffled.identity = photos.identity
    _, elsewhere = after_one_round(make_trainer, defense, [0, 1], photos=shuffled)
    torch.testing.assert_close(moved, elsewhere)


def test_people_are_drawn_whole_and_independently(make_trainer, monkeypatch):
    defense = DPUser(noise_multiplier=1.0, users=2, rounds=600)
    drawn: list[np.ndarray] = []
    monkeypatch.setattr(PrivateRun, "step", lambda self, index, epoch: drawn.append(index) or torch.zeros(3))
    trained(make_trainer, defense)
    assert len(drawn) == 600, "the last epoch is cut where the rounds end"
    sizes, rate = np.array([len(index) for index in drawn]), 2 / 5
    assert sizes.mean() == pytest.approx(2, abs=4 * math.sqrt(5 * rate * (1 - rate) / 600))
    assert sizes.var() == pytest.approx(5 * rate * (1 - rate), rel=0.25)
    often = np.bincount(np.concatenate(drawn), minlength=5) / 600
    assert np.abs(often - rate).max() < 4 * math.sqrt(rate * (1 - rate) / 600)


def test_the_head_is_clipped_and_noised_with_the_backbone_or_stays_as_drawn(make_trainer):
    untouched = make_trainer(NOISY).head.weight
    assert not torch.equal(trained(make_trainer, NOISY).head.weight, untouched)
    fixed = trained(make_trainer, NOISY.model_copy(update={"head": "fixed"}))
    assert torch.equal(fixed.head.weight, untouched)
    before = make_trainer(NOISY).backbone.parameters()
    assert all(not torch.equal(a, b) for a, b in zip(fixed.backbone.parameters(), before, strict=True))


def test_tuning_is_paid_for():
    """Five trainings to choose the settings are five times the steps to the accountant."""
    once, tuned = DPUser(noise_multiplier=2.0).plan(360), DPUser(noise_multiplier=2.0, tuning_runs=5).plan(360)
    assert tuned.steps == once.steps
    assert tuned.bound.epsilon == pytest.approx(DPUser(noise_multiplier=2.0, rounds=5 * once.steps).plan(360).bound.epsilon)
    assert tuned.bound.epsilon > once.bound.epsilon
    assert tuned.provenance("dp_user", "person")["claim"]["tuning_runs"] == 5
    to_target = [DPUser(epsilon=4.0, tuning_runs=runs).plan(360) for runs in (1, 5)]
    assert to_target[1].noise_multiplier > to_target[0].noise_multiplier
    assert to_target[1].bound.epsilon <= 4.0


@pytest.mark.parametrize("head", ["joint", "fixed"])
def test_with_little_noise_it_learns(make_trainer, head):
    trainer = trained(make_trainer, DPUser(noise_multiplier=0.01, users=5, rounds=60, lr=0.5, head=head))
    assert trainer.history[-1].loss < 0.8 * trainer.history[0].loss


def test_a_resumed_run_ends_in_the_same_weights(make_trainer, tmp_path):
    defense = NOISY.model_copy(update={"ema": 0.9})

    class Killed(Exception):
        pass

    def kill(line) -> None:
        if line.epoch == 2:
            raise Killed

    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        trained(make_trainer, defense, checkpoint=path, progress=kill)
    resumed, whole = trained(make_trainer, defense, checkpoint=path), trained(make_trainer, defense)
    assert weights_digest(resumed.backbone) == weights_digest(whole.backbone)
    assert weights_digest(resumed.head) == weights_digest(whole.head)


# The guarantee


PUBLISHED = {"users": 32, "rounds": 200}


@pytest.mark.parametrize(
    "settings", [PUBLISHED, {"epsilon": 4.0}, {"users": 90, "rounds": 40, "noise_multiplier": 1.5}], ids=str
)
def test_the_claim_is_a_persons_and_independent_accountants_agree(settings):
    mechanism = DPUser(**settings).plan(360)
    claim = Claim(**mechanism.provenance("dp_user", "person")["claim"])
    assert (claim.unit, claim.covers) == ("person", "model")
    assert claim.delta == pytest.approx(360**-1.1)
    assert mechanism.steps == settings.get("rounds", 60)
    assert mechanism.sample_rate == settings.get("users", 64) / 360
    event = dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(mechanism.sample_rate, dp_accounting.GaussianDpEvent(mechanism.noise_multiplier)),
        mechanism.steps,
    )
    tight = PLDAccountant(value_discretization_interval=1e-3).compose(event).get_epsilon(claim.delta)
    assert tight * 0.999 <= claim.epsilon <= 1.02 * tight + 0.01
    if (
        mechanism.noise_multiplier > 0.9
    ):  # below, theirs leaves out the orders that decide, because its series does not converge
        renyi = RdpAccountant().compose(event).get_epsilon(claim.delta)
        ours = epsilon_rdp(mechanism.sample_rate, mechanism.noise_multiplier, mechanism.steps, claim.delta)
        assert ours == pytest.approx(renyi, rel=0.02)


def test_the_number_of_photos_does_not_matter_to_the_claim(make_trainer, photos):
    few = trained(make_trainer, NOISY, photos=Uneven(photos, [0, 6, 12, 18, 24])).provenance
    many = trained(make_trainer, NOISY).provenance
    assert few["claim"] == many["claim"]
    assert many["dp_user"]["units"] == 5


def test_a_vacuous_epsilon_is_no_claim(make_trainer):
    provenance = trained(make_trainer, DPUser(noise_multiplier=0.01, users=2, rounds=2)).provenance
    assert "claim" not in provenance
    assert "vacuous" in provenance["dp_user"]["note"]


# Refusals and settings


def test_batchnorm_left_in_and_coupling_heads_are_refused(make_trainer, track):
    kwargs = {**track.backbone.kwargs, "input_size": [32, 32]}
    with pytest.raises(FaceVeilError, match=r"BatchNorm2d.*norm='group'"):
        NOISY.fit(make_trainer(NOISY, backbone=create(track.backbone.name, kwargs)))
    with pytest.raises(FaceVeilError, match="AdaFace"):
        NOISY.fit(make_trainer(NOISY, head="adaface"))


def test_pre_training_wants_public_faces(make_trainer):
    defense = NOISY.model_copy(update={"pretrain_epochs": 1})
    assert defense.uses_public()
    assert not NOISY.uses_public()
    with pytest.raises(FaceVeilError, match="public faces"):
        defense.fit(make_trainer(defense))


def test_a_target_epsilon_replaces_the_default_noise():
    assert DPUser().noise_multiplier == 0.62
    assert DPUser(epsilon=2.0).noise_multiplier is None
    for defense in (DPUser(), DPUser(epsilon=2.0)):
        assert DPUser(**defense.settings()) == defense
    with pytest.raises(ValidationError, match="exactly one"):
        DPUser(epsilon=2.0, noise_multiplier=1.0)


@pytest.mark.parametrize("name", ["users", "rounds", "lr", "max_grad_norm", "noise_multiplier", "epsilon", "physical_batch"])
def test_settings_out_of_range_are_refused(name):
    with pytest.raises(ValidationError, match=name):
        DPUser(**{name: 0})


def test_batchnorm_is_exchanged_before_training():
    assert DPUser().prepare(BackboneSpec(name="mobilefacenet")).kwargs == {"norm": "group"}


def test_the_adaptive_attacks_read_feature_means_and_regrow_the_head():
    attacks = [build_attack(spec) for spec in DPUser().adaptive_attacks()]
    assert [a.name for a in attacks] == ["bn_distance", "bn_distance", "regrown_head"]
    assert {a.statistics for a in attacks[:2]} == {"feature_means"}
