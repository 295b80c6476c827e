"""Variational information bottleneck on the embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.interfaces import AttackSpec, Batch, Defense, ForwardPass, Reference, TrainerProtocol
from defenses.shared.adaptive import against_training


class VIB(Defense):
    """The head sees a sample z = mu + s e of the embedding, and b KL(N(mu, s^2) || N(0, 1)) is added to the loss.

    mu is the backbone's embedding, which is what is released; log s^2 comes from a linear layer behind it that only training
    has.  A backbone whose last layer is a BatchNorm keeps the scale of mu by itself; there the bottleneck is s.
    """

    name: ClassVar[str] = "vib"
    title: ClassVar[str] = "information bottleneck (VIB)"
    summary: ClassVar[str] = "A variational bottleneck on the embedding: noise in training, KL to a standard normal."
    reference: ClassVar[Reference] = Reference(
        title="Improving Robustness to Model Inversion Attacks via Mutual Information Regularization",
        where="AAAI 2021",
        arxiv="2009.05241",
    )
    family: ClassVar[str] = "training"

    beta: float = Field(0.01, ge=0, le=1000, description="weight of the KL term, summed over dimensions")

    def modules(self, trainer: TrainerProtocol) -> Mapping[str, nn.Module]:
        spread = nn.Linear(trainer.embedding_size, trainer.embedding_size)
        nn.init.zeros_(spread.weight)
        nn.init.constant_(spread.bias, -4.0)  # little noise at first
        return {self.name: spread}

    def embed(self, embeddings: Tensor, batch: Batch, trainer: TrainerProtocol) -> Tensor:
        log_variance = trainer.extra[self.name](embeddings.float()).clamp(-10, 4)
        batch.notes[self.name] = log_variance
        out: Tensor = embeddings + (0.5 * log_variance).exp() * torch.randn_like(embeddings)
        return out

    def loss(self, loss: Tensor, batch: ForwardPass, trainer: TrainerProtocol) -> Tensor:  # noqa: ARG002
        return loss + self.beta * divergence(batch.embeddings.float(), batch.notes[self.name])

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Its blind spot: what is released is the mean, without the noise."""
        return against_training(AttackSpec(name="embedding_norm"))


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL (B,) from N(mean, exp(log_variance)) to the standard normal, summed over dimensions."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
