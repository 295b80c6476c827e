"""How fast latents are optimised: the plain loop, and what each step away from it gives, for the same final objective."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.generators.plain import PlainGenerator
from attacks.generators.stylegan2 import Generator
from attacks.shared.latents import fitted
from benchmark.runtime.gpu import wait_for
from benchmark.runtime.seeding import seeded
from benchmark.signals.target import Target


@dataclass(frozen=True)
class Way:
    """One way to run the same optimisation: w = mapping(z) + offset, Adam on the offset, 1 - cosine to a template.

    ``frozen``: no gradients of weights; ``w_only``: the mapping network runs once, outside of the graph; ``batch``: templates
    optimised together.  ``after``: the row that this one changes one thing of.
    """

    name: str
    frozen: bool = True
    w_only: bool = True
    batch: int = 1
    autocast: bool = False
    compiled: str = ""
    after: int = 0


@dataclass(frozen=True)
class Speed:
    """``rate`` in images times iterations per second; ``objective`` the mean at the end; ``note`` why there is none.

    ``gain`` is over the plain loop, ``step`` over the row that this one changes one thing of.
    """

    name: str
    rate: float | None
    objective: float | None
    seconds: float = 0.0
    note: str = ""
    gain: float | None = None
    step: float | None = None


def ways(batch: int, device: torch.device) -> tuple[Way, ...]:
    """The plain loop first, then one change at a time, and what only some devices are fast at."""
    steps = (
        Way("plain: weights trainable, mapping in the graph, one image at a time", frozen=False, w_only=False),
        Way("frozen weights", w_only=False),
        Way("frozen, W only", after=1),
        Way(f"frozen, W only, batches of {batch}", batch=batch, after=2),
        Way(f"frozen, W only, batches of {batch}, bf16", batch=batch, autocast=True, after=3),
    )
    if device.type != "cuda":
        return steps
    return (
        *steps,
        Way(f"frozen, W only, batches of {batch}, compiled", batch=batch, compiled="default", after=3),
        Way(f"frozen, W only, batches of {batch}, compiled with CUDA graphs", batch=batch, compiled="reduce-overhead", after=5),
        Way(f"frozen, W only, batches of {batch}, bf16, compiled", batch=batch, autocast=True, compiled="default", after=4),
    )


def measure(
    generator: Generator | PlainGenerator,
    target: Target,
    side: int,
    *,
    images: int,
    iterations: int,
    batch: int,
    step: Callable[[str], None] = lambda _text: None,
) -> list[dict[str, Any]]:
    """Every way on the same ``images`` templates: faces of the generator, embedded by the target.

    On a CPU, seconds are those of the process, so that what else the machine does counts little; on a GPU, of the clock.
    """
    device = target.device
    with seeded(0):
        z = torch.randn(images, generator.z_dim).to(device)
        other = torch.randn(images, generator.z_dim).to(device)
    with torch.no_grad():
        templates = target.features(fitted(generator.images(generator.mapping(other)), side))
    job = _Job(generator, target, side, z, templates, iterations)
    found: list[Speed] = []
    for way in ways(min(batch, images), device):
        step(way.name)
        speed = job.timed(way)
        found.append(speed)
        found[-1] = replace(speed, gain=_ratio(speed, found[0]), step=_ratio(speed, found[way.after]))
    return [vars(speed) for speed in found]


def _ratio(speed: Speed, other: Speed) -> float | None:
    return None if speed.rate is None or other.rate is None else round(speed.rate / other.rate, 3)


@dataclass(frozen=True)
class _Job:
    generator: Generator | PlainGenerator
    target: Target
    side: int
    z: Tensor
    templates: Tensor
    iterations: int
    lr: float = 0.05

    def timed(self, way: Way) -> Speed:
        try:
            self._run(way, self.z[: way.batch], self.templates[: way.batch], 2 if way.compiled else 1)  # warm-up
            wait_for(self.target.device)
            started = _clock(self.target.device)
            losses = [
                self._run(way, z, t, self.iterations)
                for z, t in zip(self.z.split(way.batch), self.templates.split(way.batch), strict=True)
            ]
            wait_for(self.target.device)
        except (RuntimeError, NotImplementedError) as error:  # what a device cannot do
            return Speed(way.name, None, None, note=str(error).splitlines()[0][:120])
        seconds = _clock(self.target.device) - started
        rate = len(self.z) * self.iterations / seconds
        return Speed(way.name, round(rate, 2), round(torch.cat(losses).mean().item(), 5), round(seconds, 3))

    def _run(self, way: Way, z: Tensor, templates: Tensor, iterations: int) -> Tensor:
        """Losses (B,) of the images after ``iterations`` steps."""
        with _trainable(self.generator, self.target.backbone, on=not way.frozen):
            if way.w_only:
                with torch.no_grad():
                    fixed = self.generator.mapping(z)
            offset = torch.zeros(len(z), 1, self.generator.w_dim, device=z.device, requires_grad=True)
            optimizer = torch.optim.Adam([offset], lr=self.lr)
            score = torch.compile(self._score, mode=way.compiled) if way.compiled else self._score
            for _ in range(iterations):
                optimizer.zero_grad(set_to_none=True)
                with self._precision(way, z.device):
                    losses = score((fixed if way.w_only else self.generator.mapping(z)) + offset, templates)
                losses.sum().backward()
                optimizer.step()
            with torch.no_grad(), self._precision(way, z.device):
                start = fixed if way.w_only else self.generator.mapping(z)
                return self._score(start + offset, templates).detach().float()

    def _score(self, latents: Tensor, templates: Tensor) -> Tensor:
        images = fitted(self.generator.images(latents), self.side)
        return 1 - F.cosine_similarity(self.target.features(images).float(), templates)

    @staticmethod
    def _precision(way: Way, device: torch.device) -> Any:
        return torch.autocast(device.type, torch.bfloat16) if way.autocast else nullcontext()


@contextmanager
def _trainable(*modules: nn.Module, on: bool) -> Iterator[None]:
    """Weights as training leaves them, ``requires_grad`` set, inside the block."""
    parameters = [p for module in modules for p in module.parameters()]
    before = [p.requires_grad for p in parameters]
    for p in parameters:
        p.requires_grad_(on)
    try:
        yield
    finally:
        for p, was in zip(parameters, before, strict=True):
            p.requires_grad_(was)
            p.grad = None


def _clock(device: torch.device) -> float:
    return time.process_time() if device.type == "cpu" else time.perf_counter()
