"""Differentially private training: DP-SGD with GroupNorm in place of BatchNorm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from opacus.optimizers import DPOptimizerFastGradientClipping
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from benchmark.audit import VACUOUS_EPSILON, UpperBound, default_delta, noise_for_epsilon, upper_bound
from benchmark.ghost_clipping import Classifier, GhostClipping
from benchmark.interfaces import AttackSpec, Defense, FaceVeilError, Reference, Trainer
from benchmark.protocol import BackboneSpec
from benchmark.seeding import derived_seed, seeded


@dataclass(frozen=True)
class Plan:
    """The mechanism that will run, and what it guarantees: known before the first step."""

    sample_rate: float
    steps_per_epoch: int
    steps: int
    noise_multiplier: float
    bound: UpperBound


class DPSGD(Defense):
    """DP-SGD (Abadi et al. 2016): per-photo gradients clipped to one norm, summed, Gaussian noise added.

    The unit of protection is one photo: two training sets are neighbours where one has a photo more.  Public are the number
    of photos, the people and who is in which photo.  The clip covers backbone and head together, so the guarantee holds for
    both.  Batches are Poisson samples, as the accountant assumes.

    Noise and sampling derive from the seed, so that an entry can be re-trained to the same weights.  That is right for a
    benchmark whose attackers do not use the seed; a model to be deployed must draw both from a secret, secure source.
    """

    name: ClassVar[str] = "dp_sgd"
    summary: ClassVar[str] = "Clipped and noised gradients (DP-SGD), GroupNorm in place of BatchNorm, with a certified epsilon."
    reference: ClassVar[Reference] = Reference(
        title="Deep Learning with Differential Privacy", where="CCS 2016", arxiv="1607.00133", equation="algorithm 1"
    )
    family: ClassVar[str] = "dp"
    honours: ClassVar[frozenset[str]] = frozenset()  # its own loop: per-photo cross entropy and nothing else

    epsilon: float | None = Field(8.0, gt=0, description="target; None where noise_multiplier is given")
    noise_multiplier: float | None = Field(None, gt=0, description="noise deviation in units of max_grad_norm")
    delta: float | None = Field(None, gt=0, lt=1, description="None: 1 / (number of photos) ^ 1.1")
    max_grad_norm: PositiveFloat = Field(1.0, description="every photo's gradient is clipped to this norm")
    batch_size: PositiveInt = Field(256, description="expected photos a step; capped at the number of photos")
    epochs: PositiveInt = Field(30, description="passes over the photos, in expectation")
    lr: PositiveFloat = 1.0
    momentum: float = Field(0.0, ge=0, lt=1)
    physical_batch: PositiveInt = Field(256, description="photos held in memory at once; changes no result but rounding")

    @model_validator(mode="before")
    @classmethod
    def _one_target(cls, values: Any) -> Any:
        """A noise multiplier alone switches the default target epsilon off."""
        if isinstance(values, dict) and values.get("noise_multiplier") is not None:
            return {"epsilon": None, **values}
        return values

    @model_validator(mode="after")
    def _exactly_one(self) -> DPSGD:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError("give either a target epsilon or a noise_multiplier, not both and not neither")
        return self

    def prepare(self, backbone: BackboneSpec) -> BackboneSpec:
        if backbone.kwargs.get("norm", "batch") != "batch":
            return backbone
        return BackboneSpec(name=backbone.name, kwargs={**backbone.kwargs, "norm": "group"})

    def check(self, backbone: BackboneSpec, photos: int) -> None:  # noqa: ARG002
        self.plan(photos)

    def plan(self, photos: int) -> Plan:
        """Noise and guarantee for a training set of this many photos.

        Raises:
            FaceVeilError: no noise reaches the target epsilon.
        """
        sample_rate = min(1.0, self.batch_size / photos)
        steps_per_epoch = round(1 / sample_rate)
        steps = self.epochs * steps_per_epoch
        delta = default_delta(photos) if self.delta is None else self.delta
        noise = self.noise_multiplier
        if noise is None:
            noise = noise_for_epsilon(self.epsilon, delta, sample_rate, steps)
        return Plan(sample_rate, steps_per_epoch, steps, noise, upper_bound(sample_rate, noise, steps, delta))

    def fit(self, trainer: Trainer) -> None:
        plan = self.plan(len(trainer.photos))
        trainer.provenance.update(_provenance(plan))
        with private(trainer, self.max_grad_norm) as model:
            Run(self, plan, trainer, model).train()

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """GroupNorm stores no statistics: the distances are taken to means of the features themselves."""
        return tuple(
            AttackSpec(name="bn_distance", settings={"statistics": "feature_means", "statistic": statistic})
            for statistic in ("mean", "mean_var")
        )


def _provenance(plan: Plan) -> dict[str, Any]:
    """What the card says: the mechanism, and a claim unless it would be vacuous."""
    bound = plan.bound
    mechanism = {
        "noise_multiplier": plan.noise_multiplier,
        "sample_rate": plan.sample_rate,
        "steps": plan.steps,
        "delta": bound.delta,
        "randomness": "derived from the seed, for re-training; deploy only with noise from a secret source",
    }
    if bound.vacuous:
        return {"dp_sgd": {**mechanism, "note": f"epsilon vacuous (above {VACUOUS_EPSILON:g}): no claim"}}
    claim = {"epsilon": bound.epsilon, "delta": bound.delta, "unit": "photo", "covers": "model", "accountant": bound.accountant}
    return {"dp_sgd": mechanism, "claim": claim}


@contextmanager
def private(trainer: Trainer, max_grad_norm: float) -> Iterator[GhostClipping]:
    """Backbone and head as one module with clipped gradients; they are plain modules again afterwards."""
    model = GhostClipping(Classifier(trainer.backbone, trainer.head).train(), max_grad_norm)
    try:
        model.check(*trainer.batch(np.arange(2), 0))
        yield model
    finally:
        model.unwrap()


class Run:
    """One private training run."""

    def __init__(self, settings: DPSGD, plan: Plan, trainer: Trainer, model: GhostClipping) -> None:
        self.settings, self.plan, self.trainer, self.model = settings, plan, trainer, model
        self.noise = torch.Generator(trainer.device)
        self.optimizer = DPOptimizerFastGradientClipping(
            torch.optim.SGD(model.trainable_parameters, lr=settings.lr, momentum=settings.momentum),
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=settings.max_grad_norm,
            expected_batch_size=plan.sample_rate * len(trainer.photos),
            generator=self.noise,
        )

    def train(self) -> None:
        trainer, epochs = self.trainer, self.settings.epochs
        trainer.load_checkpoint(self.optimizer)
        while trainer.epoch < epochs:
            with (
                seeded(derived_seed(trainer.seed, 0, trainer.epoch)),
                torch.backends.cudnn.flags(deterministic=True, benchmark=False),
            ):
                loss, accuracy = self.epoch(trainer.epoch)
            if not math.isfinite(loss):
                raise FaceVeilError(f"dp_sgd: the loss is {loss} in epoch {trainer.epoch + 1}: lower lr.")
            trainer.epoch += 1
            trainer.report(trainer.epoch, loss, accuracy, epochs=epochs)
            trainer.save_checkpoint(self.optimizer)

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Mean loss and accuracy over the photos drawn in one epoch."""
        draw = np.random.default_rng([self.trainer.seed, 4, epoch])
        self.noise.manual_seed(derived_seed(self.trainer.seed, 5, epoch))
        totals = torch.zeros(3, device=self.trainer.device)  # loss, correct, photos
        for _ in range(self.plan.steps_per_epoch):
            drawn = np.flatnonzero(draw.random(len(self.trainer.photos)) < self.plan.sample_rate)
            totals += self.step(drawn, epoch)
        loss, correct, photos = totals.tolist()
        return loss / max(1.0, photos), correct / max(1.0, photos)

    def step(self, drawn: np.ndarray, epoch: int) -> Tensor:
        """One noisy step on the photos drawn, be they none; returns sums (3,) of loss and correct answers, and the count."""
        totals = torch.zeros(3, device=self.trainer.device)
        self.optimizer.zero_grad(set_to_none=True)
        if len(drawn) == 0:
            for parameter in self.model.trainable_parameters:
                parameter.grad = torch.zeros_like(parameter)
            drawn_parts = []
        else:
            drawn_parts = np.array_split(drawn, math.ceil(len(drawn) / self.settings.physical_batch))
        for part in drawn_parts:
            images, labels = self.trainer.batch(part, epoch)
            losses = self.model.accumulate(images, labels)
            with torch.no_grad():
                answers = self.trainer.head.cosine_logits(self.model.classifier.embeddings).argmax(1)
            totals += torch.stack([losses.sum(), (answers == labels).sum(), losses.new_tensor(len(labels))])
        self.optimizer.step()
        return totals
