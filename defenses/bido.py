"""Bilateral dependency optimisation: hidden layers that depend less on the photo and more on the person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from benchmark.interfaces import AttackSpec, Defense, ForwardPass, Reference, TrainerProtocol
from defenses.shared.adaptive import against_training

WIDTH = 5.0  # of the Gaussian kernel, in units of sqrt(dimensions)


class BiDO(Defense):
    """Adds lambda_x HSIC(X, Z) - lambda_y HSIC(Z, Y), averaged over hidden layers Z and the embedding.

    HSIC is normalised, HSIC(a, b) / sqrt(HSIC(a, a) HSIC(b, b)), so that a weight means the same in every layer.  Kernels
    compare the photos of a batch with each other: it couples samples.
    """

    name: ClassVar[str] = "bido"
    title: ClassVar[str] = "BiDO"
    summary: ClassVar[str] = "Hidden layers less dependent on the photo, more on the person (HSIC)."
    reference: ClassVar[Reference] = Reference(
        title="Bilateral Dependency Optimization: Defending Against Model-inversion Attacks",
        where="KDD 2022",
        arxiv="2206.05483",
    )
    family: ClassVar[str] = "training"
    couples_samples: ClassVar[bool] = True

    lambda_x: float = Field(0.05, ge=0, le=1000, description="weight of the dependence on the photo, which is lowered")
    lambda_y: float = Field(0.5, ge=0, le=1000, description="weight of the dependence on the person, which is raised")

    def watched(self, backbone: nn.Module) -> Sequence[str]:
        """The stages of a residual network; of any other network the embedding alone is looked at."""
        names = {name for name, _ in backbone.named_children()}
        return [name for name in ("layer1", "layer2", "layer3", "layer4") if name in names]

    def loss(self, loss: Tensor, batch: ForwardPass, trainer: TrainerProtocol) -> Tensor:
        photos = gaussian_kernel(batch.inputs)
        people = gaussian_kernel(F.one_hot(batch.labels, trainer.classes).float() * trainer.classes**0.5)
        layers = [gaussian_kernel(z) for z in (*batch.features.values(), batch.embeddings)]
        terms = [self.lambda_x * dependence(photos, z) - self.lambda_y * dependence(z, people) for z in layers]
        return loss + torch.stack(terms).mean()

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Its blind spot: more dependence on the person is what the regrown head reads."""
        return against_training()


def gaussian_kernel(values: Tensor) -> Tensor:
    """(B, B) exp(-|a - b|^2 / (2 WIDTH^2 D)) of rows of D numbers each."""
    rows = values.float().flatten(1)
    squares = rows.square().sum(1)
    distances = (squares[:, None] + squares - 2 * rows @ rows.mT).clamp(min=0)
    return (-distances / (2 * WIDTH**2 * rows.shape[1])).exp()


def dependence(a: Tensor, b: Tensor) -> Tensor:
    """Normalised HSIC in [0, 1] of two kernel matrices (B, B) over the same photos."""
    a, b = (k - k.mean(0) - k.mean(1, keepdim=True) + k.mean() for k in (a, b))
    out: Tensor = (a * b).sum() / (a.norm() * b.norm() + 1e-8)
    return out
