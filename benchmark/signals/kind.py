"""What a kind of signal is: whether a target can serve it, what it costs, and how it is read off one view of a batch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from benchmark.interfaces import FaceVeilError, SignalRequest
from benchmark.signals.channel_moments import ReferenceStatistics
from benchmark.signals.target import HeadClasses, Target
from benchmark.signals.views import apply_view


@dataclass
class Batch:
    """Photos as they are measured.

    Args:
        images: (B, 3, H, W), uint8 or float in [0, 1].
        references: statistics by name, for ``norm`` requests.
        head: whom the classes of the training head stand for, and
        classes: (B,) those of the photos.
    """

    target: Target
    images: Tensor
    references: Mapping[str, ReferenceStatistics]
    head: HeadClasses | None = None
    classes: Tensor | None = None

    @cached_property
    def floats(self) -> Tensor:
        """The photos as floats in [0, 1]."""
        return self.images.float().div_(255) if self.images.dtype == torch.uint8 else self.images


@dataclass
class Look:
    """One view of a batch, and what its forward pass has left.

    ``raw``: embeddings (B, D) before the card's transform, once the pass is done; ``watched``: what each kind's
    :meth:`SignalKind.watch` gave, by kind.
    """

    batch: Batch
    view: str
    as_bytes: bool = False
    watched: dict[SignalKind[Any], Any] = field(default_factory=dict)
    raw: Tensor = field(init=False)

    @cached_property
    def images(self) -> Tensor:
        """The view as the pass takes it: (B, 3, H, W), bytes where nothing needs floats."""
        return self.batch.images if self.as_bytes else apply_view(self.view, self.batch.floats)

    @property
    def target(self) -> Target:
        return self.batch.target


Request = TypeVar("Request", bound=SignalRequest)
KINDS: dict[type[SignalRequest], SignalKind[Any]] = {}  # by the requests that they serve, each entered by its own file


class SignalKind(Generic[Request]):
    """One kind of signal, whole in one file with its requests; to define the class is to have it found by :func:`kind_of`.

    ``serves``: the classes of its requests.  ``reads_pass``: it is read off the forward pass of its view, which all such kinds
    share.  ``needs_floats``: it works on the photo itself, so that the pass may not take it as bytes (floats held during the
    pass cost more than the reductions).
    """

    serves: ClassVar[tuple[type[SignalRequest], ...]] = ()
    reads_pass: ClassVar[bool] = True
    needs_floats: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        kind = cls()
        KINDS.update(dict.fromkeys(cls.serves, kind))

    def check(self, target: Target, request: Request, head: HeadClasses | None) -> None:
        """Raises :class:`NotApplicableError`, with the reason, where ``target`` cannot serve the request."""

    def passes(self, request: Request) -> dict[Hashable, int]:
        """Images a photo that it sends through the backbone, by what they are: requests that share one share its cost."""
        return {("view", request.view): 1}

    def source(
        self, target: Target, request: Request, references: Mapping[str, ReferenceStatistics], head: HeadClasses | None
    ) -> str:
        """What its values depend on beside the model and the photos; part of their name in the cache."""
        return ""

    def watch(self, batch: Batch, requests: Sequence[Request], stack: ExitStack) -> Any:
        """Enters on ``stack`` what must be open during the pass; returns what :meth:`measure` finds in ``look.watched``."""

    def measure(self, look: Look, requests: Sequence[Request]) -> dict[str, Tensor]:
        """Tensors (B, ...) by request key, of requests of one view."""
        raise NotImplementedError


def kind_of(request: SignalRequest) -> SignalKind[Any]:
    """The kind that serves a request.

    Raises:
        FaceVeilError: a request that no kind says it serves.
    """
    if type(request) not in KINDS:
        name = type(request).__name__
        raise FaceVeilError(f"no SignalKind serves {name}: define one with serves = ({name},).")
    return KINDS[type(request)]
