from __future__ import annotations

import math

import dp_accounting
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dp_accounting.pld import PLDAccountant
from pydantic import ValidationError
from torch import nn

from benchmark.interfaces import BackboneSpec, FaceVeilError
from benchmark.models.backbones import create
from benchmark.models.normalisation import batchnorms
from benchmark.protocol.registry import build_attack
from benchmark.runtime.seeding import derived_seed, weights_digest
from benchmark.submissions.card import Claim
from benchmark.training.pipeline import train_backbone
from benchmark.training.scale import Group
from defenses.dp_sgd import DPSGD
from defenses.dp_user import DPUser
from defenses.private.training import PrivateRun, private
from defenses.shared.freezing import first_layers

NOISY = DPSGD(noise_multiplier=1.0, batch_size=10, epochs=3, lr=0.1, momentum=0.5)
SILENT = {"noise_multiplier": 1e-9, "max_grad_norm": 1e5, "momentum": 0.0}  # noise of 1e-4, nothing clipped


def trained(make_trainer, defense: DPSGD, **kwargs):
    trainer = make_trainer(defense, **kwargs)
    defense.fit(trainer)
    return trainer


def run_of(defense: DPSGD, trainer, model) -> PrivateRun:
    count = len(trainer.photos)
    return PrivateRun("dp_sgd", trainer, model, defense.plan(count), defense.steps(), list(np.arange(count)[:, None]))


def flat_backbone(trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.backbone.parameters()])


class SpiedPhotos:
    """Photos that tell what is loaded."""

    def __init__(self, photos, load) -> None:
        self.identity, self.keys, self.digest, self.load = photos.identity, photos.keys, photos.digest, load

    def __len__(self) -> int:
        return len(self.identity)


def other_people(photos):
    """Public photos: three people of their own."""
    return type(photos)(people=3, photos=4)


def digest(trainer) -> tuple[str, str]:
    return weights_digest(trainer.backbone), weights_digest(trainer.head)


def flat(trainer) -> torch.Tensor:
    parameters = [*trainer.backbone.parameters(), *trainer.head.parameters()]
    return torch.cat([p.detach().flatten() for p in parameters])


def test_without_noise_and_clipping_it_is_plain_gradient_descent(make_trainer, photos):
    defense = DPSGD(**SILENT, batch_size=len(photos), epochs=2, lr=0.01, physical_batch=7)
    ours, plain = trained(make_trainer, defense), make_trainer(defense)
    optimizer = torch.optim.SGD([*plain.backbone.parameters(), *plain.head.parameters()], lr=0.01)
    start = flat(plain)
    for _ in range(2):  # every photo is drawn at a sample rate of 1, so an epoch is one step on all
        images, labels = plain.batch(np.arange(len(photos)), 0)
        optimizer.zero_grad()
        F.cross_entropy(plain.head(plain.backbone(images), labels), labels).backward()
        optimizer.step()
    moved = (flat(plain) - start).norm()
    assert moved > 0.01
    assert (flat(ours) - flat(plain)).norm() < 1e-3 * moved


def test_the_sum_is_divided_by_the_expected_batch_not_by_the_drawn_one(make_trainer, photos):
    defense = DPSGD(**SILENT, batch_size=10, epochs=1, lr=0.01)
    trainer, plain = make_trainer(defense), make_trainer(defense)
    start, drawn = flat(trainer), np.array([0, 4, 9, 20])
    with private(trainer, defense.steps()) as model:
        totals = run_of(defense, trainer, model).step(drawn, 0)
    images, labels = plain.batch(drawn, 0)
    losses = F.cross_entropy(plain.head(plain.backbone(images), labels), labels, reduction="none")
    parameters = [*plain.backbone.parameters(), *plain.head.parameters()]
    gradients = torch.autograd.grad(losses.sum() / 10, parameters)
    step = -0.01 * torch.cat([g.flatten() for g in gradients])
    assert (flat(trainer) - start - step).norm() < 1e-3 * step.norm()
    assert totals.tolist() == pytest.approx([losses.sum().item(), totals[1].item(), 4], rel=1e-4)


def test_an_empty_batch_is_noise_of_the_promised_scale(make_trainer, photos):
    defense = DPSGD(noise_multiplier=1.5, max_grad_norm=2.0, batch_size=5, lr=1.0, epochs=1)
    trainer = make_trainer(defense)
    start = flat(trainer)
    with private(trainer, defense.steps()) as model:
        run = run_of(defense, trainer, model)
        totals = run.step(np.array([], np.int64), 0)
        noise = flat(trainer) - start
        run.step(np.array([], np.int64), 0)
        again = flat(trainer) - start - noise
    assert totals.tolist() == [0, 0, 0]
    expected = 1.5 * 2.0 / 5
    count = len(noise)
    assert count > 10_000
    for part in (noise, noise[: count // 2], noise[count // 2 :]):
        assert part.std().item() == pytest.approx(expected, rel=4 / math.sqrt(len(part)))
        assert abs(part.mean()) < 4 * expected / math.sqrt(len(part))
    assert abs(torch.corrcoef(torch.stack([noise, again]))[0, 1]) < 4 / math.sqrt(count), "every step draws its own noise"


def noise_again(trainer, seed: int, deviation: float) -> torch.Tensor:
    """The noise of a first step as an attacker draws it again from a seed."""
    generator = torch.Generator().manual_seed(seed)
    parameters = [p for p in (*trainer.backbone.parameters(), *trainer.head.parameters()) if p.requires_grad]
    return torch.cat([torch.normal(0.0, deviation, p.shape, generator=generator).flatten() for p in parameters])


@pytest.mark.parametrize("known", [True, False], ids=["of a seed that is known", "of the installation's secret"])
def test_noise_is_subtracted_where_its_seed_is_published_and_not_otherwise(make_trainer, known):
    """Subtracted from the weights, the noise of all steps leaves the sum of the clipped gradients."""
    defense = DPSGD(noise_multiplier=1.0, max_grad_norm=1.0, batch_size=4, lr=1.0, epochs=1)
    trainer = make_trainer(defense)
    published = derived_seed(trainer.seed, 5, 0)
    with private(trainer, defense.steps()) as model:
        run = run_of(defense, trainer, model)
        if known:
            run.noise.manual_seed(published)
        start = flat(trainer)
        run.step(np.array([], np.int64), 0)
        moved = flat(trainer) - start
    again = -noise_again(trainer, published, 1.0) / 4
    alike = torch.corrcoef(torch.stack([moved, again]))[0, 1]
    assert (alike > 0.999) if known else (abs(alike) < 4 / math.sqrt(len(moved)))


def test_one_photo_moves_the_weights_by_at_most_the_clip(make_trainer, photos):
    """The sensitivity that the accountant assumes, through the defence's own step: with and without one photo."""
    defense = DPSGD(noise_multiplier=0.5, max_grad_norm=0.1, batch_size=10, lr=1.0, epochs=1)
    ends = []
    for drawn in (np.array([3, 7, 11, 12]), np.array([3, 7, 12])):
        trainer = make_trainer(defense)
        with private(trainer, defense.steps()) as model:
            run = run_of(defense, trainer, model)
            run.noise.manual_seed(1)
            run.step(drawn, 0)
        ends.append(flat(trainer))
    assert 0.5 * 0.1 / 10 < (ends[0] - ends[1]).norm() <= 0.1 / 10 * 1.01


def test_batches_are_poisson_samples(make_trainer, photos, monkeypatch):
    defense = DPSGD(noise_multiplier=1.0, batch_size=6, epochs=80)
    drawn: list[tuple[int, np.ndarray]] = []

    def record(_self, index: np.ndarray, epoch: int) -> torch.Tensor:
        drawn.append((epoch, index))
        return torch.zeros(3)

    monkeypatch.setattr(PrivateRun, "step", record)
    trained(make_trainer, defense)
    steps = defense.plan(len(photos)).steps
    assert len(drawn) == steps == 80 * 5
    sizes = np.array([len(index) for _, index in drawn])
    rate = 6 / len(photos)
    deviation = math.sqrt(len(photos) * rate * (1 - rate))
    assert sizes.mean() == pytest.approx(6, abs=4 * deviation / math.sqrt(steps))
    assert sizes.std() == pytest.approx(deviation, rel=0.2)
    often = np.bincount(np.concatenate([index for _, index in drawn]), minlength=len(photos)) / steps
    assert np.abs(often - rate).max() < 4.5 * math.sqrt(rate * (1 - rate) / steps)
    assert all(len(np.unique(index)) == len(index) for _, index in drawn)


def test_the_head_is_noised_too(make_trainer):
    trainer, untouched = trained(make_trainer, NOISY), make_trainer(NOISY)
    assert not torch.equal(trainer.head.weight, untouched.head.weight)
    for ours, theirs in zip(trainer.backbone.parameters(), untouched.backbone.parameters(), strict=True):
        assert not torch.equal(ours, theirs)


def test_same_seed_same_weights_and_the_physical_batch_is_only_rounding(make_trainer):
    first = trained(make_trainer, NOISY)
    assert digest(first) == digest(trained(make_trainer, NOISY))
    assert digest(first) != digest(trained(make_trainer, NOISY, seed=1))
    chunked = trained(make_trainer, NOISY.model_copy(update={"physical_batch": 3}))
    assert (flat(chunked) - flat(first)).norm() < 1e-3 * flat(first).norm()


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9, "multiplicity": 2}], ids=str)
def test_a_resumed_run_ends_in_the_same_weights(make_trainer, tmp_path, settings):
    defense = DPSGD(**{**NOISY.settings(), **settings})
    whole = trained(make_trainer, defense)

    class Killed(Exception):
        pass

    def kill(line) -> None:
        if line.epoch == 2:
            raise Killed

    path = tmp_path / "checkpoint.pt"
    interrupted = make_trainer(defense, checkpoint=path, progress=kill)
    with pytest.raises(Killed):
        defense.fit(interrupted)
    epochs = []
    resumed = trained(make_trainer, defense, checkpoint=path, progress=lambda line: epochs.append(line.epoch))
    assert epochs == [3], "an epoch is saved before it is told"
    assert digest(resumed) == digest(whole)
    assert [line.loss for line in resumed.history] == [line.loss for line in whole.history]
    assert resumed.provenance == whole.provenance


def test_hooks_and_ghost_clipping_take_the_same_steps(make_trainer):
    ghost = trained(make_trainer, NOISY)
    hooks = trained(make_trainer, NOISY.model_copy(update={"gradients": "hooks"}))
    assert digest(ghost) != digest(hooks)
    assert (flat(ghost) - flat(hooks)).norm() < 1e-3 * flat(ghost).norm()


# Views, averages, pre-training, presets


@pytest.mark.parametrize("gradients", ["ghost", "hooks"])
def test_a_photo_with_all_its_views_moves_the_weights_by_at_most_the_clip(make_trainer, photos, gradients):
    defense = DPSGD(
        noise_multiplier=0.5, max_grad_norm=0.1, batch_size=10, lr=1.0, epochs=1, multiplicity=4, gradients=gradients
    )
    ends = []
    for drawn in (np.array([3, 7, 11, 12]), np.array([3, 7, 11])):  # the last photo's views are drawn last
        trainer = make_trainer(defense)
        with private(trainer, defense.steps()) as model:
            run = run_of(defense, trainer, model)
            run.noise.manual_seed(1)
            run.views = np.random.default_rng(1)
            run.step(drawn, 0)
        ends.append(flat(trainer))
    assert 0.5 * 0.1 / 10 < (ends[0] - ends[1]).norm() <= 0.1 / 10 * 1.01


def test_the_views_of_a_photo_differ_and_their_gradient_is_averaged_before_the_clip(make_trainer, photos, monkeypatch):
    defense = DPSGD(**SILENT, batch_size=10, epochs=1, lr=0.01, multiplicity=3)
    trainer, plain = make_trainer(defense), make_trainer(defense)
    start, seen = flat(trainer), []
    with private(trainer, defense.steps()) as model:
        run = run_of(defense, trainer, model)
        accumulate = model.accumulate

        def spy(images, labels, rows, weights):
            seen.append((images.clone(), labels.clone(), rows))
            return accumulate(images, labels, rows, weights)

        monkeypatch.setattr(model, "accumulate", spy)
        totals = run.step(np.array([0, 9]), 0)
    ((images, labels, rows),) = seen
    assert (rows, len(images), totals[2]) == (3, 6, 6)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert len({view.numpy().tobytes() for view in images}) == 6
    losses = F.cross_entropy(plain.head(plain.backbone(images), labels), labels, reduction="none")
    gradients = torch.autograd.grad(losses.sum() / 3 / 10, [*plain.backbone.parameters(), *plain.head.parameters()])
    step = -0.01 * torch.cat([g.flatten() for g in gradients])
    assert (flat(trainer) - start - step).norm() < 1e-3 * step.norm()


def test_the_average_of_weights_is_what_comes_out(make_trainer, photos):
    defense = DPSGD(noise_multiplier=1.0, batch_size=len(photos), epochs=4, lr=0.1, ema=0.5)
    last = DPSGD(**{**defense.settings(), "ema": 0.0})
    path = [flat(trained(make_trainer, last.model_copy(update={"epochs": n}))) for n in (1, 2, 3, 4)]
    average = flat(make_trainer(last))
    for step, weights in enumerate(path):
        average = average.lerp(weights, 1 - min(0.5, (1 + step) / (10 + step)))
    assert torch.allclose(flat(trained(make_trainer, defense)), average, atol=1e-5)


def test_pre_training_touches_public_photos_alone_and_comes_first(make_trainer, photos, tmp_path):
    defense = DPSGD(noise_multiplier=1.0, batch_size=10, epochs=1, lr=1e-6, pretrain_epochs=2)
    assert defense.uses_public()
    assert not DPSGD().uses_public()
    lines = []
    trainer = make_trainer(defense, public=other_people(photos), progress=lines.append, checkpoint=tmp_path / "run/c.pt")
    untrained, touched = flat_backbone(trainer), []
    load = photos.load

    def note(index):
        touched.append(len(lines))
        return load(index)

    trainer.photos = SpiedPhotos(photos, note)
    defense.fit(trainer)
    assert [line.epochs for line in lines] == [2, 2, 1]
    assert all(done in (0, 2) for done in touched), "two photos are tried at the start, the rest after the public epochs"
    assert touched.count(0) == 1
    moved = (flat_backbone(trainer) - untrained).norm()
    assert moved > 0.1, "the private step is too small to be seen; what moved is the public part"
    report = trainer.provenance["pretraining"]
    assert (report["people"], report["photos"], report["epochs"]) == (3, 12, 2)
    again = make_trainer(defense, public=other_people(photos), progress=lines.append, checkpoint=tmp_path / "again/c.pt")
    defense.fit(again)
    assert len(lines) == 4, "another run that starts alike takes the pre-trained weights over"
    assert digest(again) == digest(trainer)


PUBLIC = DPSGD(noise_multiplier=1.0, batch_size=10, epochs=1, lr=0.1, pretrain_epochs=2, norm="public", frozen=0.5)


def test_public_batchnorm_is_folded_before_a_private_step(make_trainer, photos):
    """The statistics are those of public faces, the first layers theirs too, and no photo depends on another."""
    silent = DPSGD(**{**PUBLIC.settings(), "noise_multiplier": 1e-9, "lr": 1e-9})
    public = trained(make_trainer, silent, public=other_people(photos))
    ours = trained(make_trainer, PUBLIC, public=other_people(photos))
    assert not batchnorms(ours.backbone)
    kept = [p for layer in first_layers(ours.backbone, 0.5) for p in layer.parameters(recurse=False)]
    before = [p for layer in first_layers(public.backbone, 0.5) for p in layer.parameters(recurse=False)]
    assert kept
    assert all(torch.equal(a, b) for a, b in zip(kept, before, strict=True))
    assert all(p.requires_grad for p in kept), "frozen in training alone"
    assert (flat(ours) - flat(public)).norm() > 0.01, "the other layers took private steps"
    images = ours.batch(np.arange(3), 0)[0].requires_grad_()
    ours.backbone.train()(images)[0].sum().backward()
    assert images.grad[1:].abs().max() == 0
    assert "claim" in ours.provenance


def test_public_batchnorm_is_named_by_the_card_and_trained_by_shadows_again():
    spec = BackboneSpec(name="iresnet_slim", kwargs={"input_size": [16, 16]})
    assert PUBLIC.prepare(spec) == spec
    assert PUBLIC.released_spec(spec).kwargs["norm"] == "folded"
    assert NOISY.released_spec(spec) == spec
    PUBLIC.check(spec, 40)
    with pytest.raises(FaceVeilError, match="folds BatchNorm"):
        PUBLIC.check(BackboneSpec(name="iresnet_slim", kwargs={"norm": "layer"}), 40)


@pytest.mark.parametrize("settings", [{"norm": "public"}, {"frozen": 0.5}])
def test_what_public_faces_teach_needs_pre_training(settings):
    with pytest.raises(ValidationError, match="give pretrain_epochs"):
        DPSGD(**settings)


def test_pre_training_without_public_faces_is_refused(make_trainer):
    with pytest.raises(FaceVeilError, match="public faces"):
        DPSGD(noise_multiplier=1.0, pretrain_epochs=1).fit(make_trainer(NOISY))


def test_presets_fill_what_is_not_given():
    high, medium = DPSGD(preset="high_utility"), DPSGD(preset="medium", batch_size=128)
    assert (high.noise_multiplier, high.batch_size, high.lr, high.epochs, high.multiplicity) == (0.00625, 64, 4.0, 16, 8)
    assert (medium.noise_multiplier, medium.batch_size, medium.epochs, medium.ema) == (0.2, 128, 200, 0.999)
    assert high.epsilon is None
    assert DPSGD(preset="high_utility", epsilon=8.0).noise_multiplier is None
    assert DPSGD(**medium.settings()) == medium


@pytest.mark.parametrize("preset", ["high_utility", "medium"])
def test_the_presets_say_vacuous_at_once(preset):
    mechanism = DPSGD(preset=preset).plan(2000)
    assert mechanism.bound.vacuous
    said = mechanism.provenance("dp_sgd", "photo")
    assert "claim" not in said
    assert "vacuous" in said["dp_sgd"]["note"]


def test_progress_is_reported_every_epoch(make_trainer):
    lines = []
    trained(make_trainer, NOISY, progress=lines.append)
    assert [(line.epoch, line.epochs) for line in lines] == [(1, 3), (2, 3), (3, 3)]
    assert all(math.isfinite(line.loss) and 0 <= line.accuracy <= 1 for line in lines)


def test_with_little_noise_it_learns(make_trainer):
    defense = DPSGD(noise_multiplier=0.05, batch_size=30, epochs=30, lr=0.5)
    trainer = trained(make_trainer, defense)
    assert trainer.history[-1].accuracy > 0.9
    assert trainer.history[-1].loss < 0.7 * trainer.history[0].loss


def test_what_comes_out_is_plain_and_normed_by_groups(track, photos):
    model = train_backbone(track, NOISY, photos, seed=0)
    assert model.spec.kwargs["norm"] == "group"
    assert any(isinstance(m, nn.GroupNorm) for m in model.backbone.modules())
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.backbone.modules())
    for parameter in [*model.backbone.parameters(), *model.head.parameters()]:
        assert not vars(parameter)
    rebuilt = create(model.spec.name, model.spec.kwargs).eval()
    rebuilt.load_state_dict(model.backbone.state_dict())
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(rebuilt(images), model.backbone(images))


def test_modules_are_plain_again_after_a_failure(make_trainer):
    def fail(_line) -> None:
        raise KeyboardInterrupt

    trainer = make_trainer(NOISY, progress=fail)
    with pytest.raises(KeyboardInterrupt):
        NOISY.fit(trainer)
    assert not any(vars(p) for p in [*trainer.backbone.parameters(), *trainer.head.parameters()])
    assert not any(m._forward_hooks or m._backward_hooks for m in trainer.backbone.modules())


# The guarantee


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_the_claim_keeps_the_target_and_an_independent_accountant_agrees(make_trainer, photos, epsilon):
    defense = DPSGD(epsilon=epsilon, batch_size=10, epochs=2)
    provenance = trained(make_trainer, defense).provenance
    claim = Claim(**provenance["claim"])
    assert (claim.unit, claim.covers) == ("photo", "model")
    assert claim.delta == pytest.approx(len(photos) ** -1.1)
    assert 0.6 * epsilon < claim.epsilon <= epsilon
    ran = provenance["dp_sgd"]
    assert (ran["sample_rate"], ran["steps"]) == (10 / 30, 6)
    event = dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(10 / 30, dp_accounting.GaussianDpEvent(ran["noise_multiplier"])), 6
    )
    theirs = PLDAccountant(value_discretization_interval=1e-3).compose(event).get_epsilon(claim.delta)
    assert theirs * 0.999 <= claim.epsilon <= 1.02 * theirs + 0.01
    assert claim.accountant.startswith("PRV")


def test_more_noise_more_privacy(photos):
    bounds = [DPSGD(noise_multiplier=noise).plan(1200).bound.epsilon for noise in (0.5, 1.0, 2.0)]
    assert bounds[0] > bounds[1] > bounds[2]


def test_a_vacuous_epsilon_is_no_claim(make_trainer):
    provenance = trained(make_trainer, DPSGD(noise_multiplier=0.01, batch_size=10, epochs=1)).provenance
    assert "claim" not in provenance
    assert "vacuous" in provenance["dp_sgd"]["note"]


def test_batches_larger_than_the_data_become_all_of_the_data(photos):
    plan = DPSGD(noise_multiplier=5.0, batch_size=1000, epochs=3).plan(len(photos))
    assert (plan.sample_rate, plan.steps) == (1.0, 3)
    assert plan.bound.epsilon < 10


def test_an_impossible_target_is_refused_before_training(make_trainer):
    def never(_line) -> None:
        pytest.fail("it trained")

    defense = DPSGD(epsilon=0.01, delta=1e-9, batch_size=10, epochs=3)
    trainer = make_trainer(defense, progress=never)
    before = digest(trainer)
    with pytest.raises(FaceVeilError, match=r"no noise reaches epsilon 0\.01"):
        defense.fit(trainer)
    assert digest(trainer) == before


# Refusals


@pytest.mark.parametrize("defense", [DPSGD(), DPUser()])
def test_several_processes_are_refused(monkeypatch, defense):
    monkeypatch.setattr(Group, "current", staticmethod(lambda: Group(1, 2)))
    with pytest.raises(FaceVeilError, match="one process, and 2 were started"):
        defense.check(BackboneSpec(name="iresnet_slim", kwargs={"norm": "group"}), 1000)


def test_batchnorm_left_in_is_refused(make_trainer, track):
    kwargs = {**track.backbone.kwargs, "input_size": [32, 32]}
    trainer = make_trainer(NOISY, backbone=create(track.backbone.name, kwargs))
    with pytest.raises(FaceVeilError, match=r"BatchNorm2d.*norm='group'"):
        NOISY.fit(trainer)


def test_a_head_that_couples_photos_is_refused(make_trainer):
    with pytest.raises(FaceVeilError, match="AdaFace"):
        NOISY.fit(make_trainer(NOISY, head="adaface"))


def test_operations_in_place_are_refused(make_trainer):
    backbone = create("resnet18", {"norm": "group"})
    with pytest.raises(FaceVeilError, match="in place"):
        NOISY.fit(make_trainer(NOISY, backbone=backbone))


def test_a_diverging_run_says_what_to_lower(make_trainer):
    defense = DPSGD(noise_multiplier=1000.0, max_grad_norm=1e6, batch_size=10, epochs=4, lr=1000.0, momentum=0.9)
    with pytest.raises(FaceVeilError, match="lower lr"):
        trained(make_trainer, defense)


# Settings


def test_a_noise_multiplier_replaces_the_default_target():
    assert DPSGD().noise_multiplier is None
    assert DPSGD().epsilon is not None
    assert DPSGD(noise_multiplier=0.5).epsilon is None


@pytest.mark.parametrize("settings", [{}, {"epsilon": 2.0}, {"noise_multiplier": 0.5, "delta": 1e-5, "batch_size": 64}])
def test_settings_round_trip(settings):
    defense = DPSGD(**settings)
    assert DPSGD(**defense.settings()) == defense


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 8.0, "noise_multiplier": 1.0}, "exactly one"),
        ({"epsilon": None}, "exactly one of"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"noise_multiplier": 0.0}, "noise_multiplier"),
        ({"noise_multiplier": -1.0}, "noise_multiplier"),
        ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"max_grad_norm": 0.0}, "max_grad_norm"),
        ({"batch_size": 0}, "batch_size"),
        ({"epochs": 0}, "epochs"),
        ({"lr": 0.0}, "lr"),
        ({"momentum": 1.0}, "momentum"),
        ({"physical_batch": 0}, "physical_batch"),
        ({"sigma": 1.0}, "sigma"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        DPSGD(**settings)


@pytest.mark.parametrize(("norm", "prepared"), [(None, "group"), ("batch", "group"), ("group", "group"), ("layer", "layer")])
def test_prepare_swaps_batchnorm_and_keeps_the_rest(norm, prepared):
    kwargs = {"width": 0.5} if norm is None else {"width": 0.5, "norm": norm}
    spec = DPSGD().prepare(BackboneSpec(name="mobilefacenet", kwargs=kwargs))
    assert spec == BackboneSpec(name="mobilefacenet", kwargs={"width": 0.5, "norm": prepared})


def test_the_adaptive_attacks_read_feature_means():
    attacks = [build_attack(spec) for spec in DPSGD().adaptive_attacks()]
    distances, regrown = attacks[:2], attacks[2:]
    assert [(a.name, a.statistics) for a in distances] == [("bn_distance", "feature_means")] * 2
    assert {a.statistic for a in distances} == {"mean", "mean_var"}
    assert [a.name for a in regrown] == ["regrown_head"]
