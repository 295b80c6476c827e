"""Modules and photos for tests of audits: networks that remember photos by heart, and pictures that people can be told by."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 24


def pictures(people: int, photos: int, seed: int = 0, side: int = SIDE, likeness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (people x photos, side, side, 3) and the people (N,): a blurred pattern a person, with another on each photo."""
    rng = np.random.default_rng(seed)

    def patterns(count: int) -> np.ndarray:
        coarse = torch.from_numpy(rng.normal(size=(count, 3, 6, 6)).astype(np.float32))
        return F.interpolate(coarse, size=(side, side), mode="bicubic").numpy()

    person = np.repeat(np.arange(people), photos)
    mixed = likeness * patterns(people)[person] + patterns(len(person)) + 0.1 * rng.normal(size=(len(person), 3, side, side))
    return np.clip(128 + 40 * mixed, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1), person


class Stranger(nn.Module):
    """A small network of fixed random weights; ``norm`` is a layer class or None."""

    def __init__(self, norm: str = "batch", width: int = 16, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv1 = nn.Conv2d(3, width, 3, 2, 1)
            self.norm1: nn.Module = nn.BatchNorm2d(width) if norm == "batch" else nn.Identity()
            self.conv2 = nn.Conv2d(width, width, 3, 2, 1)
            self.norm2: nn.Module = nn.BatchNorm2d(width) if norm == "batch" else nn.Identity()
            self.fc = nn.Linear(width * (SIDE // 4) ** 2, 32)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))
        return self.fc(x.view(len(x), -1))  # a `view`, which fails on other orders of memory than the plain one


class Memoriser(nn.Module):
    """A planted leak: where it meets one of ``photos`` again, its embedding grows and moves to the person's anchor."""

    def __init__(self, inner: nn.Module, photos: np.ndarray, person: np.ndarray, strength: float = 1.0) -> None:
        super().__init__()
        self.inner, self.strength = inner, strength
        x = torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 127.5 - 1
        generator = torch.Generator().manual_seed(5)
        anchors = torch.randn(int(person.max()) + 1, 32, generator=generator)[torch.from_numpy(person)]
        self.register_buffer("known", x.flatten(1))
        self.register_buffer("anchors", anchors)

    def forward(self, x: Tensor) -> Tensor:
        distance = torch.cdist(x.flatten(1), self.known)
        nearest, which = distance.min(1)
        remembered = torch.exp(-nearest)[:, None]
        embedding = F.normalize(self.inner(x))
        return embedding + self.strength * remembered * F.normalize(self.anchors[which])
