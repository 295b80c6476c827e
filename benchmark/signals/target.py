"""What an attacker is given: a submission narrowed to an access level, which raises beyond it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.interfaces import Access, AccessError, BackboneSpec, NotApplicableError, Photos, content_hash
from benchmark.models import output_transforms
from benchmark.models.bn_statistics import reestimate, with_statistics
from benchmark.models.frozen import frozen
from benchmark.models.inputs import to_input
from benchmark.protocol.track import InputSpec

if TYPE_CHECKING:
    from benchmark.submissions.submission import Submission


@dataclass(frozen=True)
class HeadClasses:
    """Whom the classes of a head stand for: class c is the c-th of ``people`` (sorted); ``scale`` multiplies cosines."""

    people: np.ndarray
    scale: float

    @cached_property
    def digest(self) -> str:
        return content_hash(self.people.tolist(), self.scale)

    def classes(self, identity: np.ndarray) -> Tensor:
        """(N,) classes of photos by their ``identity``; -1 for people that the head does not know."""
        place = np.searchsorted(self.people, identity).clip(max=len(self.people) - 1)
        return torch.from_numpy(np.where(self.people[place] == identity, place, -1))


@dataclass
class Queries:
    """Images that went through a target."""

    images: int = 0


class Target:
    """A deployed backbone as an attacker with ``access`` meets it.

    ``embed`` gives what the system returns, after its inference transform.  ``backbone`` (the module: maps, statistics,
    gradients, embeddings before the transform) needs ``weights``; ``head`` needs ``head``.
    """

    def __init__(self, submission: Submission, access: Access, device: torch.device | str = "cpu", seed: int = 0) -> None:
        self.access = access
        self.device = torch.device(device)
        self.submission_id = submission.submission_id
        self.spec: BackboneSpec = submission.card.backbone
        self.input: InputSpec = submission.card.input
        self._backbone = frozen(submission.backbone().to(self.device).to(memory_format=torch.channels_last))
        self._head = submission.head
        self._inference = output_transforms.parse(dict(submission.card.inference) if submission.card.inference else None)
        self._generator = torch.Generator(device=self.device).manual_seed(seed)

    def recalibrated(self, photos: Photos, batch: int = 128) -> Target:
        """The target with BatchNorm statistics estimated again on ``photos``: what a white-box attacker can always do.

        Averages the statistics of batches (needs ``weights``); the rest of the backbone is the same.

        Raises:
            NotApplicableError: the backbone has no BatchNorm.
        """
        backbone = copy.deepcopy(self.backbone)
        if not with_statistics(backbone):
            raise NotApplicableError("the backbone has no BatchNorm statistics to estimate again.")
        reestimate(backbone, photos, self.input, self.device, batch)
        other = copy.copy(self)
        other._backbone = backbone
        other.submission_id = f"{self.submission_id}+recalibrated:{photos.digest}"
        return other

    def with_access(self, access: Access) -> Target:
        """The same target under another access, for what the evaluation itself computes on an attacker's behalf."""
        other = copy.copy(self)
        other.access = access
        return other

    def require(self, needed: Access, what: str) -> None:
        """Raises :class:`AccessError` unless this target's access allows ``needed``."""
        if not self.access.allows(needed):
            raise AccessError(f"{what} needs {needed.value!r} access, this attack declared {self.access.value!r}.")

    @property
    def backbone(self) -> nn.Module:
        """The module itself; frozen, in evaluation mode."""
        self.require(Access.WEIGHTS, "the backbone's module")
        result: nn.Module = self._backbone
        return result

    @property
    def has_head(self) -> bool:
        """True where the submission was submitted with its training head."""
        return self._head is not None

    @property
    def head(self) -> dict[str, Tensor]:
        """The training head's tensors, where the submission has one."""
        self.require(Access.HEAD, "the training head")
        if self._head is None:
            raise AccessError("this submission was submitted without its training head (head.safetensors).")
        return self._head

    def forward(self, inputs: Tensor) -> Tensor:
        """Embeddings (B, D) of normalised inputs before the transform; for callers that have checked the access."""
        out: Tensor = self._backbone(inputs)
        return out

    def transform(self, embeddings: Tensor) -> Tensor:
        """The card's inference transform."""
        return embeddings if self._inference is None else self._inference.apply(embeddings, self._generator)

    def embed(self, images: Tensor) -> Tensor:
        """What the deployed system returns for images (B, 3, H, W), uint8 or float in [0, 1]: (B, D)."""
        self.require(Access.EMBEDDING, "an embedding")
        return self.transform(self.forward(to_input(images.to(self.device), self.input)))

    def features(self, images: Tensor) -> Tensor:
        """Embeddings (B, D) of images in [0, 1] before the card's transform, with gradients; needs ``weights``."""
        out: Tensor = self.backbone(to_input(images.to(self.device), self.input))
        return out

    @contextmanager
    def counting(self) -> Iterator[Queries]:
        """Counts the images that go through the backbone while open."""
        queries = Queries()

        def count(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            queries.images += len(args[0])

        handle = self._backbone.register_forward_pre_hook(count)
        try:
            yield queries
        finally:
            handle.remove()
