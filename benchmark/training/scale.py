"""How one training is spread over processes, batches and time.

The order of photos, the losses and the gradients stay the same, and between processes the statistics of BatchNorm (see
``synchronised``).  Of a batch in several parts BatchNorm sees one part at a time.  Sums are added in another order in any
case, so weights made with another :func:`spread` have a name of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from benchmark.interfaces import FaceVeilError, Photos
from benchmark.runtime.interrupts import unheard_by_children

GROUP_VERSION = 2  # part of the names of what several processes trained: raise it when that changes
BUCKET = 25 << 20  # bytes of gradients that are exchanged at once
PATIENCE = timedelta(minutes=30)  # for a process that reads or writes what others wait for


@dataclass(frozen=True)
class Scale:
    """``accumulate`` parts of a batch, one after the other in memory, before a step; a checkpoint every ``checkpoint_steps``
    steps (0: after every epoch only); ``loaders`` processes that decode photos ahead (0: this one does)."""

    accumulate: int = 1
    checkpoint_steps: int = 0
    loaders: int = 0


_current: ContextVar[Scale] = ContextVar("scale", default=Scale())  # noqa: B039 - frozen


def current_scale() -> Scale:
    """What :func:`scaled` put in force."""
    return _current.get()


@contextmanager
def scaled(scale: Scale) -> Iterator[None]:
    """Trainings that start inside run at ``scale``."""
    token = _current.set(scale)
    try:
        yield
    finally:
        _current.reset(token)


@dataclass(frozen=True)
class Group:
    """The processes of one training: this one is number ``rank`` of ``size``.

    Gradients are exchanged once a step, after the parts of a batch were added up, by all-reduce of buckets: torch's wrapper
    would have to see the forward pass, which belongs to the defence.
    """

    rank: int = 0
    size: int = 1

    @staticmethod
    def current() -> Group:
        """Of the processes that were joined; alone otherwise."""
        if dist.is_available() and dist.is_initialized():
            return Group(dist.get_rank(), dist.get_world_size())
        return Group()

    @property
    def key(self) -> tuple[int, ...]:
        """What names of checkpoints and weights hold beside the number of processes; nothing where there is one."""
        return (GROUP_VERSION,) if self.size > 1 else ()

    def parts(self, index: np.ndarray, accumulate: int) -> list[np.ndarray]:
        """The parts of a batch that this process computes."""
        return np.array_split(index, self.size * accumulate)[self.rank * accumulate : (self.rank + 1) * accumulate]

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sums the gradients over all processes."""
        if self.size > 1:
            gradients = []
            for parameter in parameters:
                if parameter.grad is None:  # unused in the part of this process, perhaps used in another's
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
            self._reduce(gradients)

    def add(self, *values: Tensor) -> None:
        """Sums tensors over all processes, in place."""
        if self.size > 1:
            for value in values:
                dist.all_reduce(value)

    def average_buffers(self, *modules: nn.Module) -> None:
        """Brings running statistics, which every process gathers on its own parts, to their mean."""
        if self.size > 1:
            buffers = [b for module in modules for b in module.buffers() if b.is_floating_point()]
            self._reduce(buffers)
            for buffer in buffers:
                buffer /= self.size

    def gather(self, value: Any) -> list[Any]:
        """Every process's value."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def _reduce(self, tensors: Sequence[Tensor]) -> None:
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in bucket])
            dist.all_reduce(flat)
            start = 0
            for tensor in bucket:
                with torch.no_grad():
                    tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
                start += tensor.numel()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size > BUCKET or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel() * tensor.element_size()
    if bucket:
        yield bucket


@contextmanager
def joined(device: str) -> Iterator[tuple[Group, str]]:
    """Joins the processes that ``torchrun`` started; gives the group and the device of this process.  Alone without torchrun.

    Raises:
        FaceVeilError: the processes cannot find each other.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1 or "RANK" not in os.environ:
        yield Group(), device
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise FaceVeilError(f"the processes of torchrun cannot find each other: {error}") from error
    try:
        yield Group.current(), device
    finally:
        dist.destroy_process_group()


def spread() -> dict[str, int]:
    """Into how many parts batches are cut here; empty where each is computed as a whole."""
    parts = {"processes": Group.current().size, "accumulate": current_scale().accumulate}
    return {name: value for name, value in parts.items() if value > 1}


class PhotoLoader:
    """Photos of batches, in their order, decoded ahead by other processes where there are some.

    The order is the caller's, so that what is trained on does not depend on how many there are.
    """

    def __init__(self, photos: Photos, loaders: int) -> None:
        self._photos, self._order = photos, _Order()
        self._loader: DataLoader[Tensor] | None = None
        if loaders:
            self._loader = DataLoader(
                _Batches(photos),
                batch_sampler=self._order,
                num_workers=loaders,
                collate_fn=_same,
                persistent_workers=True,
                multiprocessing_context="spawn",  # a fork of a process that holds threads may hang
            )

    def batches(self, order: Sequence[np.ndarray]) -> Iterator[Tensor]:
        """Photos as uint8 (B, 3, H, W) for each index of ``order``."""
        if self._loader is None:
            yield from (self._photos.load(index) for index in order)
            return
        self._order.batches = order
        with unheard_by_children():
            batches = iter(self._loader)
        yield from batches


class _Order(Sampler[list[int]]):
    batches: Sequence[np.ndarray] = ()

    def __init__(self) -> None: ...

    def __iter__(self) -> Iterator[list[int]]:
        return (index.tolist() for index in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Batches(Dataset[Tensor]):
    def __init__(self, photos: Photos) -> None:
        self._photos = photos

    def __getitems__(self, index: list[int]) -> Tensor:
        return self._photos.load(index)


def _same(photos: Any) -> Any:
    return photos
