"""ONE forward pass a view -> every signal that any attack requested, reduced inside the hook.

Feature maps are never stored: a hook on each layer keeps one or two numbers a channel for the photos of the current batch,
and those are reduced at once.  Results stream to files (``signal_files``), so that memory does not grow with the number of
photos, and are cached by content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.interfaces import Photos, SignalRequest, Signals, content_hash
from benchmark.models.inputs import to_input
from benchmark.signals.cache import SignalFiles
from benchmark.signals.channel_moments import (
    FeatureColumns,
    ReferenceStatistics,
    channel_moments,
    distance,
    estimated_statistics,
    normalisation_layers,
    recording,
    stored_statistics,
)
from benchmark.signals.gradient_norms import gradient_norms
from benchmark.signals.head import HeadClasses, check_head, head_logits, own_class
from benchmark.signals.part_responses import check_map, part_responses, watching
from benchmark.signals.target import Target
from benchmark.signals.views import VIEWS, apply_view, thumbnails

__all__ = [
    "VIEWS",
    "HeadClasses",
    "ReferenceStatistics",
    "channel_moments",
    "check_applicable",
    "distance",
    "estimated_statistics",
    "extract",
    "measure",
    "normalisation_layers",
    "passes",
    "stored_statistics",
]

SIGNALS_VERSION = 2  # part of the cache key: raise it when a signal changes its meaning
BATCH = 128


def check_applicable(target: Target, request: SignalRequest, head: HeadClasses | None = None) -> None:
    """Raises :class:`NotApplicableError`, with the reason, where ``target`` cannot serve ``request``."""
    if request.layers == "norm" or (request.layers == "embedding" and request.reference != "stored"):
        normalisation_layers(target.backbone, request.reference)
    elif request.layers == "activations":
        normalisation_layers(target.backbone, "feature_means")
    elif request.layers == "map":
        check_map(target)
    elif request.layers == "head":
        check_head(target, head)


def passes(requests: Iterable[SignalRequest]) -> int:
    """Images a photo that the requests send through the backbone: its views, its parts, and the views of gradients."""
    requests = list(requests)
    views = {r.view for r in requests if r.gradients == "none" and r.layers != "pixels"}
    repeated = sum({r.view: r.queries - 1 for r in requests}.values())
    parts = {r.crops for r in requests if r.layers == "map"}
    return len(views) + repeated + sum(parts) + 2 * len({r.view for r in requests if r.gradients != "none"})


def measure(
    target: Target,
    images: Tensor,
    requests: Sequence[SignalRequest],
    references: Mapping[str, ReferenceStatistics],
    head: HeadClasses | None = None,
    identity: np.ndarray | None = None,
) -> dict[str, Tensor]:
    """Every requested signal of a batch, differentiable with respect to float images (but for ``gradients``).

    Args:
        images: (B, 3, H, W), uint8 or float in [0, 1].
        references: statistics by name, for the ``norm`` requests.
        head: whom the classes of the training head stand for, and
        identity: (B,) the people of the photos, for the ``head`` requests.

    Returns:
        Tensors (B, ...) by request key.

    Raises:
        AccessError: a request needs more access than the target gives.
        FaceVeilError: an unknown view.
    """
    for request in requests:
        target.require(request.access, f"signal {request.key}")
    # Photos as they are go through as bytes: floats held during the pass would cost more than the reductions of a BN signal.
    photos = images
    if images.dtype == torch.uint8 and any(_changes(request) for request in requests):
        images = images.float().div_(255)
    classes = head.classes(identity).to(target.device) if head is not None and identity is not None else None
    results: dict[str, Tensor] = {}
    results.update({r.key: thumbnails(apply_view(r.view, images)) for r in requests if r.layers == "pixels"})
    plain = [r for r in requests if r.gradients == "none" and r.layers != "pixels"]
    for view in dict.fromkeys(r.view for r in plain):
        of_view = [r for r in plain if r.view == view]
        seen = photos if not any(_changes(r) for r in of_view) else apply_view(view, images)
        results.update(_measure_view(target, seen, of_view, references, head, classes))
    by_view: dict[str, list[SignalRequest]] = {}
    for request in requests:
        if request.gradients != "none":
            by_view.setdefault(request.view, []).append(request)
    for view, of_view in by_view.items():
        norms = gradient_norms(target, images, view, {r.gradients for r in of_view})
        results.update({r.key: norms[r.gradients] for r in of_view})
    return results


def _changes(request: SignalRequest) -> bool:
    """Whether it works on something else than the photo as it is, and so on floats."""
    return request.view != "identity" or request.layers in ("map", "pixels") or request.gradients != "none"


def _measure_view(
    target: Target,
    images: Tensor,
    requests: Sequence[SignalRequest],
    references: Mapping[str, ReferenceStatistics],
    head: HeadClasses | None,
    classes: Tensor | None,
) -> dict[str, Tensor]:
    """The signals of one view: one pass, and the photos' parts where their map is asked for."""
    inputs = to_input(images, target.input).contiguous(memory_format=torch.channels_last)
    of_layers = [r for r in requests if r.layers in ("norm", "activations")]
    columns = FeatureColumns(target.backbone, of_layers, references) if of_layers else None
    of_map = [r for r in requests if r.layers == "map"]
    with ExitStack() as stack:
        if columns is not None:
            stack.enter_context(recording(columns.layers, columns.reduce))
        maps = stack.enter_context(watching(target.backbone)) if of_map else {}
        raw = target.forward(inputs)
    results = columns.results() if columns is not None else {}
    for request in of_map:
        results[request.key] = part_responses(target, images, maps, request.crops)
    of_head = [r for r in requests if r.layers == "head"]
    if of_head:
        if head is None or classes is None:
            raise ValueError("head signals need the classes of the head and the people of the photos.")
        own = own_class(head_logits(target, raw, head.scale), classes)
        results.update({r.key: own[r.statistic] for r in of_head})
    for request in requests:
        if request.layers == "embedding":
            results[request.key] = raw if request.raw else _answer(target, raw, request.queries)
        elif request.layers == "similarity":
            results[request.key] = F.normalize(_answer(target, raw, request.queries))
    return results


def _answer(target: Target, raw: Tensor, queries: int) -> Tensor:
    """What the deployed system returns, averaged over repeated queries of the same image (its transform may draw noise)."""
    total = target.transform(raw)
    for _ in range(queries - 1):
        total = total + target.transform(raw)
    return total / queries


def extract(
    target: Target,
    photos: Photos,
    requests: Sequence[SignalRequest],
    *,
    references: Mapping[str, ReferenceStatistics] | None = None,
    head: HeadClasses | None = None,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Signals:
    """Signals of all photos in one streaming pass; only what the cache lacks is computed.

    Args:
        references: statistics by name for ``norm`` requests other than ``stored``.
        head: whom the classes of the training head stand for, for ``head`` requests.
        cache: folder for memory-mapped results; None keeps them in memory.
        progress: called with the number of photos just done.

    Raises:
        AccessError: a request needs more access than the target gives.
        NotApplicableError: a request has no meaning on this backbone.
    """
    requests = tuple(dict.fromkeys(requests))
    references = dict(references or {})
    for request in requests:
        target.require(request.access, f"signal {request.key}")
        if request.layers == "norm" and request.reference == "stored" and "stored" not in references:
            references["stored"] = stored_statistics(target.backbone)
    names = {r.key: _content_name(target, photos, r, references, head) for r in requests}
    store = SignalFiles(cache, names)
    missing = [r for r in requests if not store.has(r.key)]
    for request in missing:
        check_applicable(target, request, head)
    identity = np.asarray(photos.identity)
    # tensors made in inference mode can take no part in a pass backward
    mode = torch.no_grad if any(r.gradients != "none" for r in missing) else torch.inference_mode
    if missing:
        with mode(), store.writing(len(photos)) as write:
            for start in range(0, len(photos), BATCH):
                index = np.arange(start, min(start + BATCH, len(photos)))
                images = photos.load(index).to(target.device, non_blocking=True)
                for key, value in measure(target, images, missing, references, head, identity[index]).items():
                    write(key, start, value.float().cpu().numpy())
                if progress is not None:
                    progress(len(index))
    return Signals(values={r.key: store.read(r.key) for r in requests}, identity=identity)


def _content_name(
    target: Target,
    photos: Photos,
    request: SignalRequest,
    references: Mapping[str, ReferenceStatistics],
    head: HeadClasses | None,
) -> str:
    source = references[request.reference].digest if request.layers == "norm" else ""
    if request.layers == "head" and head is not None:
        source = f"{content_hash(sorted((k, v.double().sum().item()) for k, v in target.head.items()))}:{head.digest}"
    # The same weights may stand under another architecture or normalisation: a card can be corrected.
    model = (target.submission_id, target.spec.model_dump(mode="json"), target.input.model_dump(mode="json"))
    return content_hash(SIGNALS_VERSION, *model, photos.digest, request.key, source)
