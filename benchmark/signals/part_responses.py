"""How parts of a photo respond to its own feature map: the membership feature of PartCrop, reduced in the pass.

"A Unified Membership Inference Method for Visual Self-supervised Encoder via Part-aware Capability" (CCS 2024): an encoder
knows the parts of a training photo better, so that a part's feature points more sharply at places of the photo's map.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import NormalDist
from typing import Literal, NoReturn

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from benchmark.interfaces import Access, NotApplicableError, SignalRequest
from benchmark.models.inputs import to_input
from benchmark.runtime.memory import out_of_memory
from benchmark.signals.kind import Batch, Look, SignalKind
from benchmark.signals.target import HeadClasses, Target
from benchmark.signals.views import crops

AREA = (0.08, 0.2)  # share of the photo that a part shows
PLACES = 16  # a map needs as many, to be pointed at
SHARPNESS = 10.0  # of the softmax over cosines
SMALLEST = 16  # pixels of a part's side, at least
PARTS_AT_ONCE = 512


class PartResponses(SignalRequest):
    """How ``parts`` random parts of the photo respond to its last feature map, (N, 2 parts)."""

    view: Literal["identity"] = "identity"
    parts: int = Field(ge=1)

    @property
    def access(self) -> Access:
        """Feature maps need the weights."""
        return Access.WEIGHTS

    @property
    def key(self) -> str:
        """See :class:`SignalRequest`."""
        return f"map.{self.parts}"


class PartKind(SignalKind[PartResponses]):
    """The photo's own pass leaves the map; its parts pass as far as that."""

    serves = (PartResponses,)
    needs_floats = True

    def check(self, target: Target, request: PartResponses, head: HeadClasses | None) -> None:
        """There must be a map to point at."""
        check_map(target)

    def passes(self, request: PartResponses) -> dict[Hashable, int]:
        """The photo, and its parts."""
        return {("view", request.view): 1, ("parts", request.parts): request.parts}

    def watch(self, batch: Batch, requests: Sequence[PartResponses], stack: ExitStack) -> dict[str, Tensor]:
        """Holds the last map."""
        return stack.enter_context(watching(batch.target.backbone))

    def measure(self, look: Look, requests: Sequence[PartResponses]) -> dict[str, Tensor]:
        """See :class:`SignalKind`."""
        maps = look.watched[self]
        return {request.key: part_responses(look.target, look.images, maps, request.parts) for request in requests}


@contextmanager
def watching(backbone: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Holds ``{name: map}`` of the deepest feature map of at least 16 places that the last pass met; empty where none did."""
    found: dict[str, Tensor] = {}

    def look(name: str, out: object) -> None:
        if isinstance(out, Tensor) and out.dim() == 4 and out.shape[-2] * out.shape[-1] >= PLACES:
            found.clear()
            found[name] = out

    handles = [  # an Identity stands for no layer: in attention it holds queries and keys, which are no map
        m.register_forward_hook(lambda _m, _i, out, name=name: look(name, out))
        for name, m in backbone.named_modules()
        if name and not isinstance(m, nn.Identity)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def check_map(target: Target) -> None:
    """Tries one empty photo and one empty part.

    Raises:
        NotApplicableError: the backbone has no feature map of at least 16 places, or takes no image of a part's size.
    """
    with torch.inference_mode(), watching(target.backbone) as found:
        target.backbone(torch.zeros(1, 3, *target.input.size, device=target.device))
    if not found:
        raise NotApplicableError(f"no feature map of the backbone has {PLACES} places or more for parts to point at.")
    height, width = part_size(target)
    try:
        with torch.inference_mode():
            plain_parts(target, next(iter(found)), torch.zeros(1, 3, height, width, device=target.device))
    except (AssertionError, RuntimeError, ValueError) as error:
        if out_of_memory(error):
            raise
        raise NotApplicableError(f"the backbone takes no parts of {height} x {width} pixels: {str(error)[:120]}") from None


class _Reached(Exception):
    """The layer that was waited for has been computed."""


def _features_at(backbone: nn.Module, name: str, inputs: Tensor) -> Tensor:
    """Mean of the output of layer ``name`` over its places, (B, C); nothing behind that layer is computed."""
    kept: list[Tensor] = []

    def stop(_module: nn.Module, _inputs: object, out: Tensor) -> NoReturn:
        kept.append(out.mean((2, 3)))
        raise _Reached

    handle = backbone.get_submodule(name).register_forward_hook(stop)
    try:
        backbone(inputs)
    except _Reached:
        pass
    finally:
        handle.remove()
    return kept[0]


def part_size(target: Target) -> tuple[int, int]:
    """Height and width of a part in pixels: a quarter of the input's, at least 16."""
    height, width = target.input.size
    return max(SMALLEST, height // 4), max(SMALLEST, width // 4)


def _part_features(target: Target, name: str, parts: Tensor) -> Tensor:
    inside = target.input.model_copy(update={"size": part_size(target)})
    inputs = to_input(parts, inside).contiguous(memory_format=torch.channels_last)
    return _features_at(target.backbone, name, inputs)


def plain_parts(target: Target, name: str, parts: Tensor) -> None:
    """The passes of parts (N, 3, h, w) as far as layer ``name`` and nothing else, for whoever times them."""
    for some in parts.split(PARTS_AT_ONCE):
        _part_features(target, name, some)


def part_responses(target: Target, images: Tensor, maps: Mapping[str, Tensor], count: int) -> Tensor:
    """Sorted divergences of the responses of random parts from a uniform and from a Gaussian one, (B, 2 count).

    The response of a part is the softmax, over the places of the photo's map, of its pooled feature's cosine to each place.
    The published code takes plain dot products; cosines do not depend on the scale of a layer.

    Args:
        images: (B, 3, H, W), floats in [0, 1].
        maps: what :func:`watching` held after a pass of these images.
        count: parts a photo, of 8 to 20 % of its area, resized to a quarter of the input's side.
    """
    ((name, features),) = maps.items()
    size = part_size(target)
    places = F.normalize(features.flatten(2), dim=1)  # (B, C, places)
    divergences = []
    step = max(1, PARTS_AT_ONCE // count)
    for start in range(0, len(images), step):
        parts = crops(images[start : start + step], count, AREA, size)
        pooled = F.normalize(_part_features(target, name, parts.flatten(0, 1)), dim=1).unflatten(0, (-1, count))
        divergences.append(_divergences(SHARPNESS * pooled @ places[start : start + step]))
    return torch.cat(divergences)


def _divergences(logits: Tensor) -> Tensor:
    """KL divergence of uniform and of Gaussian weights from the softmax of ``logits`` (B, n, places), sorted: (B, 2n)."""
    log = logits.log_softmax(2)
    uniform = log.new_full((log.shape[2],), 1 / log.shape[2])
    columns = [((w * w.log()).sum() - log @ w).sort(dim=1, descending=True).values for w in (uniform, _bell(uniform))]
    return torch.cat(columns, dim=1)


def _bell(like: Tensor) -> Tensor:
    """The density of a standard normal at its own quantiles, as weights; the published code draws the points at random."""
    n = len(like)
    density = [NormalDist().pdf(NormalDist().inv_cdf((i + 0.5) / n)) for i in range(n)]
    weights = torch.tensor(density, dtype=like.dtype, device=like.device)
    return weights / weights.sum()
