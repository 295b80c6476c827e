"""ONE forward pass a view -> every signal that any attack requested, reduced inside the hook.

Feature maps are never stored: a hook on each layer keeps one or two numbers a channel for the photos of the current batch,
and those are reduced at once.  On a CPU few photos pass at a time, so that a map is still in the processor's cache when it is
reduced.  Results stream to files, so that memory does not grow with the number of photos, and are cached by content.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.interfaces import Photos, SignalRequest, Signals, content_hash
from benchmark.models.inputs import to_input
from benchmark.signals.cache import SignalFiles
from benchmark.signals.channel_moments import (
    ReferenceStatistics,
    channel_moments,
    distance,
    estimated_statistics,
    normalisation_layers,
    stored_statistics,
)
from benchmark.signals.kind import Batch, Look, SignalKind, kind_of
from benchmark.signals.target import HeadClasses, Target
from benchmark.signals.views import VIEWS

__all__ = [
    "VIEWS",
    "HeadClasses",
    "Reading",
    "ReferenceStatistics",
    "channel_moments",
    "check_applicable",
    "distance",
    "estimated_statistics",
    "extract",
    "extract_many",
    "measure",
    "measure_in_chunks",
    "normalisation_layers",
    "passes",
    "stored_statistics",
]

SIGNALS_VERSION = 3  # part of the cache key: raise it when a signal changes its meaning
BATCH = 128  # photos read at once
CHUNK = 64  # of them pass through the backbone at once on a CPU: at 48 and 64 pixels the fastest of 8, 16, 32, 64 and 128


def check_applicable(target: Target, request: SignalRequest, head: HeadClasses | None = None) -> None:
    """Raises :class:`NotApplicableError`, with the reason, where ``target`` cannot serve ``request``."""
    kind_of(request).check(target, request, head)


def passes(requests: Iterable[SignalRequest]) -> int:
    """Images a photo that the requests send through the backbone: its views, its parts, and the views of gradients."""
    counted: dict[Hashable, int] = {}
    for request in requests:
        for what, count in kind_of(request).passes(request).items():
            counted[what] = max(count, counted.get(what, 0))
    return sum(counted.values())


@dataclass(frozen=True)
class Reading:
    """What is wanted of one model.

    Args:
        references: statistics by name for ``norm`` requests other than ``stored``.
        head: whom the classes of the training head stand for, for ``head`` requests.
    """

    target: Target
    requests: Sequence[SignalRequest]
    references: Mapping[str, ReferenceStatistics] = field(default_factory=dict)
    head: HeadClasses | None = None


def measure(reading: Reading, images: Tensor, identity: np.ndarray | None = None) -> dict[str, Tensor]:
    """Every requested signal of a batch, differentiable with respect to float images (but for ``gradients``).

    Args:
        reading: with the ``stored`` statistics among its references where a request compares with them.
        images: (B, 3, H, W), uint8 or float in [0, 1].
        identity: (B,) the people of the photos, for ``head`` requests.

    Returns:
        Tensors (B, ...) by request key.

    Raises:
        AccessError: a request needs more access than the target gives.
        FaceVeilError: an unknown view.
    """
    target, head = reading.target, reading.head
    for request in reading.requests:
        target.require(request.access, f"signal {request.key}")
    classes = head.classes(identity).to(target.device) if head is not None and identity is not None else None
    batch = Batch(target, images, reading.references, head, classes)
    results: dict[str, Tensor] = {}
    for reads_pass in (False, True):
        chosen = [r for r in reading.requests if kind_of(r).reads_pass is reads_pass]
        for view in dict.fromkeys(r.view for r in chosen):
            results.update(_measure_view(batch, view, [r for r in chosen if r.view == view], reads_pass))
    return results


def _measure_view(batch: Batch, view: str, requests: Sequence[SignalRequest], reads_pass: bool) -> dict[str, Tensor]:
    """The signals of one view: one pass for all kinds that read one off, none for the others."""
    by_kind: dict[SignalKind[Any], list[SignalRequest]] = {}
    for request in requests:
        by_kind.setdefault(kind_of(request), []).append(request)
    as_bytes = view == "identity" and not any(kind.needs_floats for kind in by_kind)
    look = Look(batch, view, as_bytes)
    if reads_pass:
        inputs = to_input(look.images, batch.target.input).contiguous(memory_format=torch.channels_last)
        with ExitStack() as stack:
            look.watched = {kind: kind.watch(batch, of_kind, stack) for kind, of_kind in by_kind.items()}
            look.raw = batch.target.forward(inputs)
    found: dict[str, Tensor] = {}
    for kind, of_kind in by_kind.items():
        found.update(kind.measure(look, of_kind))
    return found


def measure_in_chunks(reading: Reading, images: Tensor, identity: np.ndarray | None = None) -> dict[str, Tensor]:
    """What :func:`measure` gives, by as many photos at a time as are fastest on the target's device."""
    size = CHUNK if reading.target.device.type == "cpu" else len(images)
    parts = [
        measure(reading, part, None if identity is None else identity[n * size : (n + 1) * size])
        for n, part in enumerate(images.split(size))
    ]
    return parts[0] if len(parts) == 1 else {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


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
    """Signals of all photos from one model, see :func:`extract_many`.

    Args:
        references, head: see :class:`Reading`.
    """
    return extract_many([Reading(target, requests, references or {}, head)], photos, cache=cache, progress=progress)[0]


def extract_many(
    readings: Sequence[Reading],
    photos: Photos,
    *,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Signals]:
    """Signals of all photos from several models, such as a population: the pixels are read once for all of them.

    One streaming pass a model; only what the cache lacks is computed.  The models are held in memory together.

    Args:
        cache: folder for memory-mapped results; None keeps them in memory.
        progress: called with the number of photos just done, by all models.

    Returns:
        In the order of ``readings``; ``identity`` (N,) as that of ``photos``.

    Raises:
        AccessError: a request needs more access than its target gives.
        NotApplicableError: a request has no meaning on its backbone.
    """
    passes = [_Pass.of(reading, photos, cache) for reading in readings]
    open_passes = [p for p in passes if p.missing.requests]
    identity = np.asarray(photos.identity)
    with ExitStack() as stack:
        writers = [stack.enter_context(p.store.writing(len(photos))) for p in open_passes]
        for start in range(0, len(photos) if open_passes else 0, BATCH):
            index = np.arange(start, min(start + BATCH, len(photos)))
            images = photos.load(index)
            for one, write in zip(open_passes, writers, strict=True):
                for key, value in one.measured(images, identity[index]).items():
                    write(key, start, value.float().cpu().numpy())
            if progress is not None:
                progress(len(index))
    return [Signals(values={r.key: p.store.read(r.key) for r in p.requests}, identity=identity) for p in passes]


@dataclass(frozen=True)
class _Pass:
    """One model's part of a pass over the photos.

    ``missing``: its reading, of those requests alone that the cache lacks.
    """

    requests: tuple[SignalRequest, ...]
    missing: Reading
    store: SignalFiles

    @staticmethod
    def of(reading: Reading, photos: Photos, cache: Path | None) -> _Pass:
        target = reading.target
        requests = tuple(dict.fromkeys(reading.requests))
        references = dict(reading.references)
        for request in requests:
            target.require(request.access, f"signal {request.key}")
            if request.compared_with == "stored" and "stored" not in references:
                references["stored"] = stored_statistics(target.backbone)
        reading = replace(reading, references=references)
        store = SignalFiles(cache, {r.key: _content_name(reading, photos, r) for r in requests})
        missing = [r for r in requests if not store.has(r.key)]
        for request in missing:
            check_applicable(target, request, reading.head)
        return _Pass(requests, replace(reading, requests=missing), store)

    def measured(self, images: Tensor, identity: np.ndarray) -> dict[str, Tensor]:
        # tensors made in inference mode can take no part in a pass backward
        mode = torch.no_grad if any(r.backward for r in self.missing.requests) else torch.inference_mode
        images = images.to(self.missing.target.device, non_blocking=True)
        with mode():
            return measure_in_chunks(self.missing, images, identity)


def _content_name(reading: Reading, photos: Photos, request: SignalRequest) -> str:
    target = reading.target
    source = kind_of(request).source(target, request, reading.references, reading.head)
    # The same weights may stand under another architecture or normalisation: a card can be corrected.
    model = (target.submission_id, target.spec.model_dump(mode="json"), target.input.model_dump(mode="json"))
    return content_hash(SIGNALS_VERSION, *model, photos.digest, request.key, source)
