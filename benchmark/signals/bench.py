"""What the signals of membership attacks cost beside the plain passes that they need."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.interfaces import Access, BackboneSpec, DefenseSpec, NotApplicableError, Photos, SignalRequest, content_hash
from benchmark.models.backbones import complete_kwargs, create
from benchmark.models.inputs import to_input
from benchmark.protocol.track import InputSpec
from benchmark.runtime.gpu import wait_for
from benchmark.runtime.memory import peak_memory
from benchmark.signals.answers import Embedding
from benchmark.signals.channel_moments import stored_statistics
from benchmark.signals.extraction import Reading, check_applicable, extract, measure_in_chunks
from benchmark.signals.gradient_norms import AgreementGradient
from benchmark.signals.kind import kind_of
from benchmark.signals.layers import NormDistance
from benchmark.signals.part_responses import AREA, PartResponses, part_size, plain_parts, watching
from benchmark.signals.target import Target
from benchmark.signals.views import apply_view, crops
from benchmark.submissions.card import Card
from benchmark.submissions.submission import Submission

EMBEDDING = Embedding()
BN = NormDistance(statistic="mean")
BN_VARIANCE = NormDistance(statistic="mean_var")


@dataclass(frozen=True)
class SignalTiming:
    """Median seconds of one way over the rounds; ``relative`` is the median over rounds of its ratio to what it needs.

    ``cpu_relative`` is the same of this process's processor time, which other work on the machine disturbs less.
    """

    way: str
    seconds: float
    beside: str
    relative: float
    cpu_relative: float


@dataclass(frozen=True)
class Growth:
    """What ten times as many photos cost: ratio of seconds, and peak memory (MiB) of the few and of the many,
    each above what the process held before; see :mod:`benchmark.runtime.memory`.
    """

    photos: int
    time_ratio: float
    peak_few_mb: float
    peak_many_mb: float


class NoisePhotos:
    """N photos of random pixels, drawn when they are loaded: nothing that is timed depends on what they show."""

    def __init__(self, count: int, size: int) -> None:
        self.identity, self.size = np.arange(count) // 4, size
        self.keys = [str(i) for i in range(count)]
        self.digest = content_hash("noise", count, size)

    def __len__(self) -> int:
        return len(self.identity)

    def load(self, index: Sequence[int] | np.ndarray) -> Tensor:
        generator = torch.Generator().manual_seed(int(np.asarray(index)[0]))
        return torch.randint(0, 256, (len(index), 3, self.size, self.size), dtype=torch.uint8, generator=generator)

    def take(self, index: Sequence[int] | np.ndarray) -> Photos:
        raise NotImplementedError


def untrained_target(backbone: str, size: int, device: str) -> Target:
    """A target with random weights and no head."""
    spec = BackboneSpec(name=backbone, kwargs=complete_kwargs(backbone, {}, (size, size)))
    module = create(spec.name, spec.kwargs)
    card = Card(
        name="bench", track="bench", defenses=(DefenseSpec(name="undefended"),), backbone=spec, norm="batch",
        embedding_size=1, input=InputSpec(size=(size, size)),
    )  # fmt: skip
    return Target(Submission(card, module.state_dict()), Access.HEAD, device)


def servable(target: Target, requests: Sequence[SignalRequest]) -> list[SignalRequest]:
    """The requests that ``target`` can serve by itself: no head, no statistics estimated on photos."""
    found = []
    for request in dict.fromkeys(requests):
        with suppress(NotApplicableError):
            check_applicable(target, request)
            if not request.recalibrates and request.compared_with in (None, "stored"):
                found.append(request)
    return found


def measure_signals(
    target: Target, requests: Sequence[SignalRequest], photos: int, rounds: int
) -> tuple[list[SignalTiming], list[SignalRequest]]:
    """Times every way once a round, one after the other, in this process, each round beginning with another.

    Returns:
        The timings, and the requests of the union that were timed.
    """
    union = servable(target, requests)
    images = NoisePhotos(photos, target.input.size[0]).load(np.arange(photos)).to(target.device)
    references = {"stored": stored_statistics(target.backbone)}
    plain = _plain_passes(target, images, union)
    ways = {
        "plain pass": _evaluation_pass(target, images),
        "BN distances, mean": _signals(Reading(target, [EMBEDDING, BN], references), images),
        "BN distances, mean and variance": _signals(Reading(target, [EMBEDDING, BN_VARIANCE], references), images),
        "plain passes of the union": plain,
        "all signals": _signals(Reading(target, union, references), images),
    }
    beside = {"plain passes of the union": "plain pass", "all signals": "plain passes of the union"}
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for n in range(rounds + 1):  # the first warms up
        for way in [*ways][n % len(ways) :] + [*ways][: n % len(ways)]:  # none is always first
            run = ways[way]
            clock = (time.perf_counter(), time.process_time())
            run()
            wait_for(target.device)
            if n:
                times[way].append((time.perf_counter() - clock[0], time.process_time() - clock[1]))
    timings = []
    for way, own in times.items():
        other = times[beside.get(way, "plain pass")]
        wall, cpu = (statistics.median(a[i] / b[i] for a, b in zip(own, other, strict=True)) for i in (0, 1))
        seconds = statistics.median(t for t, _ in own)
        timings.append(SignalTiming(way, seconds, beside.get(way, "plain pass"), wall, cpu))
    return timings, union


def growth(target: Target, requests: Sequence[SignalRequest], photos: int) -> Growth:
    """Streams ``photos`` photos, then ten times as many, to files."""
    union = servable(target, requests)
    seconds, peaks = [], []
    for count in (photos, 10 * photos):
        gc.collect()
        with tempfile.TemporaryDirectory() as folder, peak_memory() as memory:
            started = time.perf_counter()
            extract(target, NoisePhotos(count, target.input.size[0]), union, cache=Path(folder))
            seconds.append(time.perf_counter() - started)
        peaks.append(memory.mb)
    return Growth(photos, seconds[1] / seconds[0], *peaks)


def _signals(reading: Reading, images: Tensor) -> Callable[[], object]:
    mode = torch.no_grad if any(r.backward for r in reading.requests) else torch.inference_mode

    def run() -> None:
        with mode():
            measure_in_chunks(reading, images)

    return run


def _evaluation_pass(target: Target, images: Tensor) -> Callable[[], object]:
    """From bytes to embeddings, as photos are evaluated."""

    def run() -> None:
        with torch.inference_mode():
            target.forward(to_input(images, target.input).contiguous(memory_format=torch.channels_last))

    return run


def _plain_passes(target: Target, images: Tensor, requests: Sequence[SignalRequest]) -> Callable[[], object]:
    """The passes that ``requests`` need and nothing else: views and parts are prepared beforehand.

    Views pass forward; parts as far as their map; gradients forward and backward, to the weights too where those are asked
    for, summed over photos as training does it.
    """
    floats = images.float().div(255)
    views = {r.view for r in requests if kind_of(r).reads_pass}
    inputs = [apply_view(view, floats) for view in sorted(views)]
    parts: list[tuple[str, Tensor]] = []
    with torch.inference_mode(), watching(target.backbone) as found:
        target.forward(to_input(floats[:1], target.input))
    for count in {r.parts for r in requests if isinstance(r, PartResponses)}:
        parts.append((next(iter(found)), crops(floats, count, AREA, part_size(target)).flatten(0, 1)))
    kinds: dict[str, set[str]] = {}
    for request in requests:
        if isinstance(request, AgreementGradient):
            kinds.setdefault(request.view, set()).add(request.of)

    def run() -> None:
        with torch.inference_mode():
            for view in inputs:
                target.forward(to_input(view, target.input).contiguous(memory_format=torch.channels_last))
            for name, images_of_parts in parts:
                plain_parts(target, name, images_of_parts)
        for name, wanted in kinds.items():
            _forward_and_backward(target, floats, apply_view(name, floats), "weights" in wanted)

    return run


def _forward_and_backward(target: Target, images: Tensor, views: Tensor, to_weights: bool, chunk: int = 32) -> None:
    weights = list(target.backbone.parameters()) if to_weights else []
    for p in weights:
        p.requires_grad_(True)
    with torch.enable_grad():
        for first, second in zip(images.split(chunk), views.split(chunk), strict=True):
            both = torch.cat([first, second]).requires_grad_(True)
            inputs = to_input(both, target.input).contiguous(memory_format=torch.channels_last)
            loss = (1 - F.cosine_similarity(*target.backbone(inputs).chunk(2))).sum()
            torch.autograd.grad(loss, [both, *weights], allow_unused=True)
    for p in weights:
        p.requires_grad_(False)
