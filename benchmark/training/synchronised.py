"""BatchNorm over a batch that is spread over processes: statistics of the whole batch, in both directions.

``torch.nn.SyncBatchNorm`` works on GPUs alone and has to replace layers, which belong to the defence.  Here calls of
``batch_norm`` are answered instead, whichever module makes them, on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


@contextmanager
def synchronised(processes: int) -> Iterator[None]:
    """While open, BatchNorm in training mode normalises by the parts of all processes, which have to make the same calls."""
    if processes == 1:
        yield
        return
    with _Synchronised():
        yield


class _Synchronised(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """:func:`torch.nn.functional.batch_norm` with the statistics of all processes."""
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    out, mean, var, count = _Normalise.apply(input, weight, bias, eps)
    with torch.no_grad():
        for running, now in ((running_mean, mean), (running_var, var * (count / (count - 1)))):
            if running is not None:
                running.lerp_(now.to(running.dtype), momentum)
    return out  # type: ignore[no-any-return]


class _Normalise(torch.autograd.Function):
    """Ioffe and Szegedy (arXiv 1502.03167), algorithm 1, sums going over all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        wide, places = x.float(), _places(x)
        sums = torch.cat([wide.sum(places), wide.new_tensor([wide.numel() / wide.shape[1]])])
        dist.all_reduce(sums)
        count = sums[-1]
        mean = sums[:-1] / count
        centred = wide - _wide(mean, x)
        squares = centred.square().sum(places)  # about the common mean: sums of x^2 would lose what is small beside it
        dist.all_reduce(squares)
        var = squares / count
        scale = (var + eps).rsqrt()
        out = centred * _wide(scale if weight is None else scale * weight, x)
        if bias is not None:
            out = out + _wide(bias, x)
        ctx.save_for_backward(x, weight, mean, scale, count)
        ctx.mark_non_differentiable(mean, var, count)
        ctx.with_bias = bias is not None
        return out.to(x.dtype), mean, var, count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_statistics: Any) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        places = _places(x)
        error = gradient.float()
        normal = (x.float() - _wide(mean, x)) * _wide(scale, x)
        own = torch.stack([error.sum(places), (error * normal).sum(places)])  # of the bias and of the weight: summed later
        sums = own.clone()
        dist.all_reduce(sums)
        by_mean, by_spread = sums / count
        errors = (error - _wide(by_mean, x) - normal * _wide(by_spread, x)) * _wide(
            scale if weight is None else scale * weight, x
        )
        of_weight = None if weight is None else own[1].to(weight.dtype)
        of_bias = own[0].to(gradient.dtype if weight is None else weight.dtype) if ctx.with_bias else None
        return errors.to(x.dtype), of_weight, of_bias, None


def _places(x: Tensor) -> list[int]:
    """All axes but the channels'."""
    return [axis for axis in range(x.dim()) if axis != 1]


def _wide(channel: Tensor, like: Tensor) -> Tensor:
    """(C,) as it is broadcast over ``like``."""
    return channel.view(1, -1, *[1] * (like.dim() - 2))
