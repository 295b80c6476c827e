"""Photos held in memory, and a submission without a file: for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.interfaces import Access, BackboneSpec, content_hash
from benchmark.protocol.track import InputSpec
from benchmark.signals.target import Target


@dataclass
class ArrayPhotos:
    """Implements ``Photos``; ``loaded`` counts the photos handed out, and ``fail_at`` is a photo that cannot be read."""

    images: Tensor  # uint8 (N, 3, H, W)
    identity: np.ndarray
    loaded: int = 0
    fail_at: int | None = None
    keys: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        self.keys = [str(i) for i in range(len(self.identity))]

    @property
    def digest(self) -> str:
        return content_hash(self.images.sum((1, 2, 3)).tolist(), np.asarray(self.identity).tolist())

    def __len__(self) -> int:
        return len(self.identity)

    def load(self, index: Sequence[int] | np.ndarray) -> Tensor:
        index = np.asarray(index)
        if self.fail_at is not None and self.fail_at in index:
            raise OSError(f"photo {self.fail_at} cannot be read")
        self.loaded += len(index)
        return self.images[torch.from_numpy(index)]

    def take(self, index: Sequence[int] | np.ndarray) -> ArrayPhotos:
        return ArrayPhotos(self.images[torch.from_numpy(np.asarray(index))], self.identity[index])


def noise_photos(people: int = 10, each: int = 2, size: int = 8, seed: int = 0) -> ArrayPhotos:
    """Random pixels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (people * each, 3, size, size), dtype=torch.uint8, generator=generator)
    return ArrayPhotos(images, np.repeat(np.arange(people), each))


def target_of(module: nn.Module, access: Access = Access.WEIGHTS, *, size: int = 8, **fields: Any) -> Target:
    """A target around any module; ``fields`` are ``name``, ``inference``, ``head``, ``mean``, ``std`` and ``order``."""
    input_spec = InputSpec(size=(size, size), **{k: fields[k] for k in ("mean", "std", "order") if k in fields})
    backbone = BackboneSpec(name=fields.get("name", "in-test"))
    card = SimpleNamespace(input=input_spec, inference=fields.get("inference"), backbone=backbone)
    name = content_hash([v.double().sum().item() for v in module.state_dict().values()], fields.get("inference"))
    submission = SimpleNamespace(submission_id=name, card=card, head=fields.get("head"), backbone=lambda: module)
    return Target(submission, access)  # type: ignore[arg-type]
