"""Which kind of signal a request is: the one table, and the kinds that need no more than a function of their own module."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack

from torch import Tensor

from benchmark.interfaces import FaceVeilError, OwnSignal, SignalRequest, content_hash
from benchmark.signals.answers import AnswerKind
from benchmark.signals.channel_moments import ReferenceStatistics
from benchmark.signals.gradient_norms import gradient_norms
from benchmark.signals.head import HeadClasses, check_head, head_logits, own_class
from benchmark.signals.kind import OWN, Batch, Look, SignalKind
from benchmark.signals.layers import LayerKind
from benchmark.signals.part_responses import check_map, part_responses, watching
from benchmark.signals.target import Target
from benchmark.signals.views import thumbnails


class PixelKind(SignalKind):
    """``pixels``: the photo as a thumbnail; nothing passes through the backbone."""

    reads_pass = False
    needs_floats = True

    def passes(self, request: SignalRequest) -> dict[Hashable, int]:
        """None."""
        return {}

    def measure(self, look: Look, requests: Sequence[SignalRequest]) -> dict[str, Tensor]:
        """See :class:`SignalKind`."""
        return {request.key: thumbnails(look.images) for request in requests}


class GradientKind(SignalKind):
    """``gradients``: norms of the gradient of the photo's agreement with a view of itself."""

    reads_pass = False
    needs_floats = True

    def passes(self, request: SignalRequest) -> dict[Hashable, int]:
        """The photo and its view."""
        return {("gradient", request.view): 2}

    def measure(self, look: Look, requests: Sequence[SignalRequest]) -> dict[str, Tensor]:
        """Both norms of a view come of one pass backward."""
        norms = gradient_norms(look.target, look.batch.floats, look.view, {request.gradients for request in requests})
        return {request.key: norms[request.gradients] for request in requests}


class PartKind(SignalKind):
    """``map``: how parts of the photo respond to its feature map."""

    needs_floats = True

    def check(self, target: Target, request: SignalRequest, head: HeadClasses | None) -> None:
        """There must be a map to point at."""
        check_map(target)

    def passes(self, request: SignalRequest) -> dict[Hashable, int]:
        """The photo, and its parts."""
        return {("view", request.view): 1, ("parts", request.crops): request.crops}

    def watch(self, batch: Batch, requests: Sequence[SignalRequest], stack: ExitStack) -> dict[str, Tensor]:
        """Holds the last map."""
        return stack.enter_context(watching(batch.target.backbone))

    def measure(self, look: Look, requests: Sequence[SignalRequest]) -> dict[str, Tensor]:
        """See :class:`SignalKind`."""
        maps = look.watched[self]
        return {request.key: part_responses(look.target, look.images, maps, request.crops) for request in requests}


class HeadKind(SignalKind):
    """``head``: what the training head says of the photo's own class."""

    def check(self, target: Target, request: SignalRequest, head: HeadClasses | None) -> None:
        """There must be a head, of these people."""
        check_head(target, head)

    def source(
        self, target: Target, request: SignalRequest, references: Mapping[str, ReferenceStatistics], head: HeadClasses | None
    ) -> str:
        """The head and its people."""
        if head is None:
            return ""
        return f"{content_hash(sorted((k, v.double().sum().item()) for k, v in target.head.items()))}:{head.digest}"

    def measure(self, look: Look, requests: Sequence[SignalRequest]) -> dict[str, Tensor]:
        """See :class:`SignalKind`."""
        head, classes = look.batch.head, look.batch.classes
        if head is None or classes is None:
            raise ValueError("head signals need the classes of the head and the people of the photos.")
        own = own_class(head_logits(look.target, look.raw, head.scale), classes)
        return {request.key: own[request.statistic] for request in requests}


_ANSWERS, _LAYERS = AnswerKind(), LayerKind()
KINDS: dict[str, SignalKind] = {
    "pixels": PixelKind(),
    "norm": _LAYERS,
    "activations": _LAYERS,
    "map": PartKind(),
    "head": HeadKind(),
    "embedding": _ANSWERS,
    "similarity": _ANSWERS,
    "gradients": GradientKind(),
}


def kind_of(request: SignalRequest) -> SignalKind:
    """The kind that serves a request.

    Raises:
        FaceVeilError: a request of one's own that no kind says it serves.
    """
    if isinstance(request, OwnSignal):
        if type(request) not in OWN:
            name = type(request).__name__
            raise FaceVeilError(f"no SignalKind serves {name}: define one with serves = {name}.")
        return OWN[type(request)]
    return KINDS["gradients" if request.gradients != "none" else request.layers]
