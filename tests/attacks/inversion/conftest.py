"""What the tests of inversion attacks share: a target, a generator of principal components, and the context of an attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from photo_arrays import ArrayPhotos, target_of
from tiny_generator import TinyGenerator
from torch import Tensor, nn

from benchmark.interfaces import Access, Goal, InversionContext
from benchmark.runtime.seeding import seeded
from benchmark.signals.target import Target

SIDE = 16


def blobs(people: int = 30, each: int = 4, seed: int = 0) -> ArrayPhotos:
    """Smooth random pictures, alike for one person."""
    generator = torch.Generator().manual_seed(seed)
    person = torch.randn(people, 3, 4, 4, generator=generator).repeat_interleave(each, 0)
    photos = F.interpolate(person + 0.2 * torch.randn(person.shape, generator=generator), size=(SIDE, SIDE), mode="bilinear")
    return ArrayPhotos((photos.mul(50).add(128)).clamp(0, 255).to(torch.uint8), np.repeat(np.arange(people), each))


def small_backbone(seed: int = 0) -> nn.Module:
    """Convolutions with BatchNorm that have seen the pictures."""
    with seeded(seed):
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.PReLU(8), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16),
            nn.PReLU(16), nn.Flatten(), nn.Linear(16 * 16, 24),
        )  # fmt: skip
        for _ in range(30):
            net.train()(blobs().images.float().div(127.5) - 1)
    return net.eval().requires_grad_(False)


@dataclass(frozen=True)
class Bench:
    """A target with leaked templates of some people."""

    photos: ArrayPhotos
    target: Target
    generator: TinyGenerator
    templates: Tensor

    def context(self, goal: Goal = Goal.TEMPLATE, **fields: Any) -> InversionContext:
        values: dict[str, Any] = {
            "goal": goal, "target": self.target, "count": len(self.templates), "image_size": SIDE, "public": self.photos,
            "seed": 0, "device": torch.device("cpu"), "generator": self.generator, "generator_training": self.photos,
            "templates": self.templates if goal == Goal.TEMPLATE else None, "similarity": self.similarity,
        }  # fmt: skip
        return InversionContext(**{**values, **fields})

    def similarity(self, images: Tensor, number: Tensor) -> Tensor:
        with torch.no_grad():
            return F.cosine_similarity(self.target.features(images), self.templates[number])

    def cosines(self, images: Tensor) -> Tensor:
        """Of images to the templates they were made for."""
        return self.similarity(images, torch.arange(len(images)))

    def run(self, attack: Any, goal: Goal = Goal.TEMPLATE, **fields: Any) -> Any:
        """The attack under a fixed random state."""
        with seeded(5):
            return attack.invert(self.context(goal, **fields))


@pytest.fixture(scope="session")
def bench() -> Bench:
    photos = blobs()
    target = target_of(small_backbone(), Access.WEIGHTS, size=SIDE)
    wanted = blobs(6, 1, seed=8)  # people of whom nobody holds a photo
    templates = target.features(wanted.images.float().div(255))
    return Bench(photos, target, TinyGenerator(photos, size=24), templates)


@pytest.fixture(scope="session")
def bright() -> Callable[[Any], Callable[[Tensor], Tensor]]:
    """A guide that takes bright pictures for members, whatever attack it is asked for."""
    return lambda _spec: lambda images: 40 * (images.mean((1, 2, 3)) - 0.6)
