"""Differentially private training: the Poisson-subsampled Gaussian mechanism over units of photos.

A unit is what the guarantee protects: one photo (with its augmented views), or one person with all their photos.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from opacus.optimizers import DPOptimizerFastGradientClipping
from torch import Tensor, nn

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.secret import noise_seed, secret_hash
from benchmark.runtime.seeding import derived_seed, seeded
from benchmark.training.loop import Trainer
from defenses.private.accounting import VACUOUS_EPSILON, UpperBound, default_delta, noise_for_epsilon, upper_bound
from defenses.private.ghost_clipping import Classifier, GhostClipping
from defenses.private.hook_clipping import HookClipping
from defenses.private.weight_average import WeightAverage
from defenses.shared.augmentation import draw_views

Gradients = Literal["ghost", "hooks"]
CLIPPING: dict[str, type[GhostClipping]] = {"ghost": GhostClipping, "hooks": HookClipping}
VIEW_CROP = 0.1  # of height and width: the shift of augmented views


@dataclass(frozen=True)
class Mechanism:
    """What will run, and what it guarantees: known before the first step."""

    units: int
    sample_rate: float
    steps_per_epoch: int
    steps: int
    noise_multiplier: float
    bound: UpperBound
    tuning_runs: int = 1  # as many trainings like this one are composed in ``bound``

    def provenance(self, name: str, unit: Literal["photo", "person"]) -> dict[str, Any]:
        """What the card says: the mechanism, and a claim unless it would be vacuous."""
        mechanism = {
            "unit": unit,
            "units": self.units,
            "noise_multiplier": self.noise_multiplier,
            "sample_rate": self.sample_rate,
            "steps": self.steps,
            "tuning_runs": self.tuning_runs,
            "delta": self.bound.delta,
            "randomness": "noise and samples from the installation's secret",
            "secret_sha256": secret_hash(),
        }
        if self.bound.vacuous:
            return {name: {**mechanism, "note": f"epsilon vacuous (above {VACUOUS_EPSILON:g}): no claim"}}
        claim = {"epsilon": self.bound.epsilon, "delta": self.bound.delta, "accountant": self.bound.accountant}
        covers = {"unit": unit, "covers": "model", "tuning_runs": self.tuning_runs}
        return {name: mechanism, "claim": {**claim, **covers}}


def plan(
    units: int,
    batch_size: int,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    epsilon: float | None = None,
    noise_multiplier: float | None = None,
    delta: float | None = None,
    tuning_runs: int = 1,
) -> Mechanism:
    """Noise and guarantee for a training set of this many units.

    Args:
        batch_size: expected units a step; at most all of them.
        epochs: passes over the units, in expectation; or ``steps``, of which one of both is given.
        epsilon: target; or the ``noise_multiplier``, of which one of both is given.
        delta: default 1 / units^1.1.
        tuning_runs: how many such trainings on the same units the guarantee has to cover, whatever was chosen by their results:
            adaptive composition of all their steps.

    Raises:
        FaceVeilError: no noise reaches the target epsilon.
    """
    sample_rate = min(1.0, batch_size / units)
    steps_per_epoch = round(1 / sample_rate)
    if steps is None:
        if epochs is None:
            raise FaceVeilError("a private training needs its length: give epochs or steps.")
        steps = epochs * steps_per_epoch
    delta = default_delta(units) if delta is None else delta
    if noise_multiplier is None:
        if epsilon is None:
            raise FaceVeilError("a private training needs its noise: give epsilon or noise_multiplier.")
        noise_multiplier = noise_for_epsilon(epsilon, delta, sample_rate, steps * tuning_runs)
    bound = upper_bound(sample_rate, noise_multiplier, steps * tuning_runs, delta)
    return Mechanism(units, sample_rate, steps_per_epoch, steps, noise_multiplier, bound, tuning_runs)


@dataclass(frozen=True)
class StepSettings:
    """How steps are taken; ``ema`` is the decay of the weight average (0: off), ``views`` the augmented views of a photo."""

    lr: float
    max_grad_norm: float = 1.0
    momentum: float = 0.0
    views: int = 1
    ema: float = 0.0
    gradients: Gradients = "ghost"
    physical_batch: int = 256  # photos, views counted, held in memory at once


@contextmanager
def private(trainer: Trainer, settings: StepSettings, backbone: nn.Module | None = None) -> Iterator[GhostClipping]:
    """Backbone and head as one module with clipped gradients; they are plain modules again afterwards.

    Args:
        backbone: default the trainer's.

    Raises:
        FaceVeilError: BatchNorm left in, a head or layer that couples photos or has no per-photo gradients.
    """
    classifier = Classifier(trainer.backbone if backbone is None else backbone, trainer.head).train()
    model = CLIPPING[settings.gradients](classifier, settings.max_grad_norm)
    try:
        model.check(*trainer.batch(np.arange(2), 0))
        yield model
    finally:
        model.unwrap()


class PrivateRun:
    """One private training run.

    Args:
        units: the positions of every unit's photos.  A unit's gradient is the mean over its photos and their views.
    """

    def __init__(
        self,
        name: str,
        trainer: Trainer,
        model: GhostClipping,
        mechanism: Mechanism,
        settings: StepSettings,
        units: Sequence[np.ndarray],
    ) -> None:
        self.name, self.trainer, self.model, self.mechanism, self.settings = name, trainer, model, mechanism, settings
        self.members, self.weights = _padded(units)
        self.noise = torch.Generator(trainer.device)
        self._seed_draws(0)
        self.average = WeightAverage(settings.ema, trainer.backbone, trainer.head) if settings.ema else None
        self.optimizer = DPOptimizerFastGradientClipping(
            torch.optim.SGD(model.trainable_parameters, lr=settings.lr, momentum=settings.momentum),
            noise_multiplier=mechanism.noise_multiplier,
            max_grad_norm=settings.max_grad_norm,
            expected_batch_size=mechanism.sample_rate * len(units),
            generator=self.noise,
        )

    def _seed_draws(self, epoch: int) -> None:
        """Noise and samples of an epoch follow from the installation's secret, augmented views from the run's seed.

        Drawn from the published seed, the noise of all steps could be drawn again and subtracted, and who was sampled when
        would be known, which the accountant rules out.
        """
        plan, steps = self.mechanism, self.settings  # two trajectories share no noise; an average is of the same one
        settings = [plan.noise_multiplier, plan.sample_rate, steps.lr, steps.max_grad_norm, steps.momentum, steps.views]
        run = [self.name, self.trainer.seed, self.trainer.photos.digest, *settings, epoch]
        self.noise.manual_seed(noise_seed(*run, "noise"))
        self.samples = np.random.default_rng(noise_seed(*run, "samples"))
        self.views = np.random.default_rng([self.trainer.seed, 6, epoch])

    def train(self) -> None:
        """Runs every step that is left; the averaged weights, where asked for, are in place at the end."""
        trainer = self.trainer
        epochs = math.ceil(self.mechanism.steps / self.mechanism.steps_per_epoch)
        state = trainer.load_checkpoint(self.optimizer)
        if state and self.average:
            self.average.load(state)
        while trainer.epoch < epochs:
            with (
                seeded(derived_seed(trainer.seed, 0, trainer.epoch)),
                torch.backends.cudnn.flags(deterministic=True, benchmark=False),
            ):
                loss, accuracy = self.epoch(trainer.epoch)
            if not math.isfinite(loss):
                raise FaceVeilError(f"{self.name}: the loss is {loss} in epoch {trainer.epoch + 1}: lower lr.")
            averages = self.average.state() if self.average else None
            trainer.finish_epoch(loss, accuracy, self.optimizer, epochs=epochs, extra=averages)
        if self.average:
            self.average.apply()

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Mean loss and accuracy over the photos drawn in one epoch."""
        plan = self.mechanism
        self._seed_draws(epoch)
        totals = torch.zeros(3, device=self.trainer.device)  # loss, correct, photos
        for _ in range(min(plan.steps_per_epoch, plan.steps - epoch * plan.steps_per_epoch)):
            drawn = np.flatnonzero(self.samples.random(plan.units) < plan.sample_rate)
            totals += self.step(drawn, epoch)
            if self.average:
                self.average.update()
        loss, correct, photos = totals.tolist()
        return loss / max(1.0, photos), correct / max(1.0, photos)

    def step(self, drawn: np.ndarray, epoch: int) -> Tensor:
        """One noisy step on the units drawn, even on none; returns sums (3,) of loss and correct answers, and the count."""
        totals = torch.zeros(3, device=self.trainer.device)
        self.optimizer.zero_grad(set_to_none=True)
        for parameter in self.model.trainable_parameters:
            parameter.grad = torch.zeros_like(parameter)  # also where nobody is drawn
        views = self.settings.views
        rows = self.members.shape[1] * views
        size = self.trainer.input.size
        shown = draw_views(len(drawn) * rows, size, self.views, flip=True, crop=VIEW_CROP, erase=0) if views > 1 else None
        at_once = max(1, self.settings.physical_batch // rows)
        for start in range(0, len(drawn), at_once):
            part = drawn[start : start + at_once]
            images, labels = self.trainer.batch(self.members[part].reshape(-1), epoch)
            weights = torch.from_numpy(self.weights[part].reshape(-1)).to(self.trainer.device)
            if shown is not None:
                images, labels, weights = (t.repeat_interleave(views, 0) for t in (images, labels, weights))
                images = shown.take(slice(start * rows, (start + len(part)) * rows)).apply(images)
                images = images.contiguous(memory_format=torch.channels_last)
            losses = self.model.accumulate(images, labels, rows, weights / views)
            with torch.no_grad():
                right = self.trainer.head.cosine_logits(self.model.classifier.embeddings).argmax(1) == labels
            real = weights > 0
            totals += torch.stack([(losses * real).sum(), (right & real).sum(), real.sum()]).to(totals)
        self.optimizer.step()
        return totals


def _padded(units: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Positions and weights (units, most photos): shorter units repeat their first photo with weight 0."""
    width = max(len(unit) for unit in units)
    members = np.stack([np.concatenate([unit, np.repeat(unit[:1], width - len(unit))]) for unit in units])
    weights = np.stack([(np.arange(width) < len(unit)) / len(unit) for unit in units]).astype(np.float32)
    return members, weights
