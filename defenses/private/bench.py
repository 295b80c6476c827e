"""Seconds of one training step with and without per-photo clipping, on the same network, measured in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from benchmark.models.backbones import create
from benchmark.models.heads import build_head
from benchmark.protocol.track import HeadSpec
from benchmark.runtime.gpu import wait_for
from benchmark.runtime.seeding import seeded
from defenses.private.ghost_clipping import Classifier
from defenses.private.training import CLIPPING

PLAIN = "plain"


@dataclass(frozen=True)
class Timing:
    """Median seconds of a step, and what it is relative to the plain one.

    ``cpu_relative`` compares processor seconds of this process, which other work on the machine disturbs less;
    ``peak_memory_mb`` is that of the GPU, None on a CPU.
    """

    way: str
    seconds: float
    relative: float
    cpu_relative: float
    repetitions: int
    peak_memory_mb: float | None


def measure(
    backbone: str,
    size: int,
    batch: int,
    *,
    people: int = 360,
    views: int = 1,
    repetitions: int = 7,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> list[Timing]:
    """Times forward, backward and (where private) clipped sums of one batch: plain, by hooks, and by ghost clipping.

    All three train the same GroupNorm network; every round takes one step of each, so that a busy machine slows all alike.
    ``relative`` is the median of the rounds' ratios.

    Args:
        backbone: a name of :mod:`benchmark.models.backbones`.
        size: height and width of the photos, in pixels.
        batch: photos a step, with ``views`` views each.
    """
    device = torch.device(device)
    steps = {way: _step(way, backbone, size, batch, people, views, device, seed) for way in (PLAIN, *sorted(CLIPPING))}
    memory = {way: _peak(step, device) for way, step in steps.items()}  # the first step of each, which also warms it up
    rounds: list[dict[str, tuple[float, float]]] = []
    for _ in range(repetitions):
        rounds.append({way: _seconds(step, device) for way, step in steps.items()})
    return [
        Timing(
            way,
            round(statistics.median(r[way][0] for r in rounds), 4),
            round(statistics.median(r[way][0] / r[PLAIN][0] for r in rounds), 3),
            round(statistics.median(r[way][1] / max(1e-9, r[PLAIN][1]) for r in rounds), 3),
            repetitions,
            memory[way],
        )
        for way in steps
    ]


def _step(
    way: str, backbone: str, size: int, batch: int, people: int, views: int, device: torch.device, seed: int
) -> Callable[[], None]:
    with seeded(seed):
        arguments = {"input_size": [size, size]} if backbone.startswith(("iresnet", "ir_se", "mobilefacenet")) else {}
        network = create(backbone, {**arguments, "norm": "group"}).to(device).to(memory_format=torch.channels_last)
        images = torch.randn(batch * views, 3, size, size).to(device, memory_format=torch.channels_last)
        labels = torch.randint(people, (batch,)).repeat_interleave(views).to(device)
        width = network(images[:2]).shape[1]
    model = Classifier(network, build_head(HeadSpec(), width, people, torch.Generator().manual_seed(seed)).to(device)).train()
    if way == PLAIN:

        def plain() -> None:
            model.zero_grad(set_to_none=True)
            F.cross_entropy(model(images, labels), labels).backward()

        return plain
    private = CLIPPING[way](model, 1.0)

    def clipped() -> None:
        private.zero_grad(set_to_none=True)
        private.accumulate(images, labels, views)

    return clipped


def _seconds(step: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """Seconds, and processor seconds, of one step."""
    wait_for(device)
    start, processor = time.perf_counter(), time.process_time()
    step()
    wait_for(device)
    return time.perf_counter() - start, time.process_time() - processor


def _peak(step: Callable[[], None], device: torch.device) -> float | None:
    if device.type != "cuda":
        step()
        return None
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
