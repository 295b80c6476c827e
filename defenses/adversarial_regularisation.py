"""Adversarial regularisation: training against a membership classifier on the embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from benchmark.interfaces import AttackSpec, Defense, ForwardPass, Reference, TrainerProtocol
from benchmark.models.inputs import to_input
from defenses.shared.adaptive import against_training
from defenses.shared.public_photos import public_photos


class AdversarialRegularisation(Defense):
    """A classifier learns to tell members' unit embeddings from those of public faces; the backbone learns to fool it.

    Both in one step: the classifier's gradient reaches the backbone with its sign turned (arXiv 1505.07818), times
    ``strength``, and from the members alone.  Public photos pass the backbone as the members do, but leave no trace in it:
    no gradient, and no change of BatchNorm statistics.
    """

    name: ClassVar[str] = "adversarial_regularisation"
    title: ClassVar[str] = "adversarial regularisation"
    summary: ClassVar[str] = "Min-max training against a membership classifier on the embedding."
    reference: ClassVar[Reference] = Reference(
        title="Machine Learning with Membership Privacy using Adversarial Regularization", where="CCS 2018", arxiv="1807.05852"
    )
    family: ClassVar[str] = "training"
    needs_public: ClassVar[bool] = True

    strength: float = Field(1.0, ge=0, le=1000, description="weight of the turned gradient")
    hidden: PositiveInt = Field(64, le=4096, description="width of the classifier's hidden layer")

    def modules(self, trainer: TrainerProtocol) -> Mapping[str, nn.Module]:
        return {self.name: nn.Sequential(nn.Linear(trainer.embedding_size, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1))}

    def loss(self, loss: Tensor, batch: ForwardPass, trainer: TrainerProtocol) -> Tensor:
        members = F.normalize(batch.embeddings.float())
        classifier = trainer.extra[self.name]
        told = classifier(Turned.apply(members, self.strength)).squeeze(1)
        strangers = classifier(self._strangers(batch, trainer)).squeeze(1)
        as_members = F.binary_cross_entropy_with_logits(told, torch.ones_like(told), reduction="none")
        as_strangers = F.binary_cross_entropy_with_logits(strangers, torch.zeros_like(strangers))
        return loss + as_members + as_strangers

    def _strangers(self, batch: ForwardPass, trainer: TrainerProtocol) -> Tensor:
        """Unit embeddings (B, D) of public photos drawn for this step."""
        public = public_photos(trainer)
        rng = np.random.default_rng([trainer.seed, 11, batch.step])
        count = min(len(batch.index), len(public))
        index = np.sort(rng.choice(len(public), count, replace=False))
        images = to_input(public.load(index).to(trainer.device), trainer.input)
        with torch.no_grad(), untouched_statistics(trainer.backbone):
            return F.normalize(trainer.backbone(images.contiguous(memory_format=torch.channels_last)).float())

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Its blind spot: the classifier saw one embedding at a time, the regrown head compares those of a person."""
        return against_training()


class Turned(torch.autograd.Function):
    """The identity, whose gradient comes back with its sign turned."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


@contextmanager
def untouched_statistics(backbone: nn.Module) -> Iterator[None]:
    """While open, forward passes in training mode leave BatchNorm statistics as they are."""
    norms = [m for m in backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    kept = [(norm.running_mean, norm.running_var) for norm in norms]
    for norm in norms:
        norm.running_mean, norm.running_var = None, None
    try:
        yield
    finally:
        for norm, (mean, variance) in zip(norms, kept, strict=True):
            norm.running_mean, norm.running_var, norm.track_running_stats = mean, variance, True
