"""Photos, and batches of them on their way through training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch


class Photos(Protocol):
    """An ordered set of face photos, each with a person; read lazily, in batches."""

    @property
    def identity(self) -> np.ndarray:
        """(N,) int, the person of each photo; that people are numbered in order of first appearance is NOT promised."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """(N,) a stable name for each photo."""
        ...

    @property
    def digest(self) -> str:
        """Content hash of the set."""
        ...

    def __len__(self) -> int: ...

    def load(self, index: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Photos as uint8 (B, 3, H, W), RGB."""
        ...

    def take(self, index: Sequence[int] | np.ndarray) -> Photos:
        """Some of the photos, in the order of ``index``."""
        ...


@dataclass(frozen=True)
class Batch:
    """A training batch on its way to the backbone; a defence that changes it makes another with ``dataclasses.replace``."""

    index: np.ndarray  # (B,) positions in the trainer's photos
    inputs: torch.Tensor  # (B, 3, H, W) normalised, flipped where the track flips
    labels: torch.Tensor  # (B,) class indices
    epoch: int  # 0 for the first
    step: int  # 0 for the first of the run
    notes: dict[str, Any] = field(default_factory=dict)  # what a defence hands on to a later stage, under its name


@dataclass(frozen=True)
class ForwardPass(Batch):
    """A batch with what the networks made of it; everything carries gradients."""

    embeddings: torch.Tensor = field(kw_only=True)  # (B, D) of the backbone, before the ``embed`` stage
    logits: torch.Tensor = field(kw_only=True)  # (B, classes) of the head, with its margin, after the ``embed`` stage
    features: Mapping[str, torch.Tensor] = field(default_factory=dict, kw_only=True)  # outputs of the ``watched`` modules
