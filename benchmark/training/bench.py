"""How a small training fares alone and beside busy processes, with one thread and with as many as there are cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.backbones import create, embedding_size
from benchmark.models.heads import build_head
from benchmark.protocol.track import HeadSpec, InputSpec, TrainingConfig
from benchmark.runtime.seeding import seeded
from benchmark.runtime.threads import VARIABLES, cores
from benchmark.training.loop import build_optimizer

ROOT = Path(__file__).parents[2]
_BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"  # ends with its parent
_JOB = "import sys, json; from benchmark.training.bench import train; print(json.dumps(train(*map(int, sys.argv[1:]))))"
WARM_UP = 3  # steps that are not timed


@dataclass(frozen=True)
class BusyTiming:
    """One small training: seconds of the clock and of the processor, and how often the seconds alone with one thread."""

    way: str
    threads: int
    busy: int
    seconds: float
    processor_seconds: float
    images_per_second: float
    relative: float
    cpu_relative: float


def plain_step(name: str, size: int, people: int, batch: int, device: str = "cpu") -> Callable[[Tensor], None]:
    """A training step of a backbone and a margin head for ``people``, without a defence: a function of normalised photos
    (batch, 3, size, size).
    """
    with seeded(0):
        backbone = create(name, {"input_size": [size, size]}).to(device).to(memory_format=torch.channels_last).train()
        width = embedding_size(backbone, InputSpec(size=(size, size)))
        head = build_head(HeadSpec(), width, people, torch.Generator().manual_seed(0)).to(device)
        labels = torch.randint(0, people, (batch,)).to(device)
    optimizer = build_optimizer(TrainingConfig(), backbone, head)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def step(images: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(head(backbone(images), labels), labels).backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()

    return step


def train(steps: int, size: int, batch: int) -> tuple[float, float]:
    """Seconds and processor seconds of some training steps of the small backbone on random pixels, in this process."""
    take_step = plain_step("iresnet_slim", size, 100, batch)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    started = processor = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            started, processor = time.perf_counter(), time.process_time()
        take_step(images)
    return time.perf_counter() - started, time.process_time() - processor


def measure_busy(busy: int, steps: int, size: int, batch: int, threads: Sequence[int] = ()) -> list[BusyTiming]:
    """The same training alone and beside ``busy`` processes, each in a fresh process.

    Args:
        threads: how many threads it has; default one, and as many as there are cores.
    """
    chosen = threads or tuple(dict.fromkeys((1, cores())))
    found: list[BusyTiming] = []
    for beside in (0, busy):
        with busy_processes(beside):
            for count in chosen:
                seconds, processor = _in_a_process(count, steps, size, batch)
                first = found[0] if found else None
                way = f"{count} thread{'s' * (count > 1)}, " + (f"beside {beside} busy" if beside else "alone")
                found.append(
                    BusyTiming(
                        way,
                        count,
                        beside,
                        seconds,
                        processor,
                        steps * batch / seconds,
                        seconds / first.seconds if first else 1.0,
                        processor / first.processor_seconds if first else 1.0,
                    )
                )
    return found


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """While open, ``count`` processes keep a core busy each."""
    running = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _in_a_process(threads: int, steps: int, size: int, batch: int) -> tuple[float, float]:
    environment = os.environ | dict.fromkeys(VARIABLES, str(threads))
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-P", "-c", _JOB, str(steps), str(size), str(batch)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, processor = json.loads(ran.stdout)
    return seconds, processor
