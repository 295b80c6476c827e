"""The layers that a network read from a graph is made of: torch's own where they exist, one small module each otherwise.

Every step is a module, activations and additions too, so that hooks, gradients and the exchange of norms see what they see in a
network written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "erf": torch.erf,
    "exp": torch.exp,
    "log": torch.log,
    "neg": torch.neg,
    "reciprocal": torch.reciprocal,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "softsign": F.softsign,
}
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "pow": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "matmul": torch.matmul,
}


def _divide(x: Tensor, y: Tensor) -> Tensor:
    whole = not x.is_floating_point() and not y.is_floating_point()
    return torch.div(x, y, rounding_mode="trunc" if whole else None)


BINARY["div"] = _divide
REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "max": torch.amax,
    "min": torch.amin,
    "l2": torch.linalg.vector_norm,
    "l1": lambda x, dim, keepdim: x.abs().sum(dim, keepdim),
}


class Apply(nn.Module):
    """A function of one or two tensors, by name."""

    def __init__(self, function: str) -> None:
        super().__init__()
        self.function = function
        self._apply_it = UNARY[function] if function in UNARY else BINARY[function]

    def extra_repr(self) -> str:
        return self.function

    def forward(self, *tensors: Tensor) -> Tensor:
        return self._apply_it(*tensors)


class Constant(nn.Module):
    """A tensor that is part of the network."""

    value: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(list(shape)))

    def forward(self) -> Tensor:
        return self.value


class Reduce(nn.Module):
    """Mean, sum, maximum or length over some dimensions."""

    def __init__(self, function: str, dims: Sequence[int], keep: bool = True) -> None:
        super().__init__()
        self.function, self.dims, self.keep = REDUCTIONS[function], list(dims), keep

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, dim=self.dims, keepdim=self.keep)


class Reshape(nn.Module):
    """Another shape; sizes at the places named in ``batch`` are multiples of the number of photos."""

    def __init__(self, shape: Sequence[int], batch: Sequence[int] = (0,), expand: bool = False, photos: int = 1) -> None:
        super().__init__()
        self.shape, self.batch, self.expand = list(shape), set(batch), expand
        self.photos = photos

    def forward(self, x: Tensor) -> Tensor:
        shape = [size * self.photos if place in self.batch else size for place, size in enumerate(self.shape)]
        return x.expand(shape) if self.expand else x.reshape(shape)


class Permute(nn.Module):
    """Dimensions in another order."""

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        self.dims = list(dims)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.dims)


class Squeeze(nn.Module):
    """Without some dimensions of size 1, or (``out``) with them put in."""

    def __init__(self, dims: Sequence[int], out: bool = False) -> None:
        super().__init__()
        self.dims, self.out = sorted(dims, reverse=not out), out

    def forward(self, x: Tensor) -> Tensor:
        for dim in self.dims:
            x = x.unsqueeze(dim) if self.out else x.squeeze(dim)
        return x


class Concat(nn.Module):
    """Tensors behind one another."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *tensors: Tensor) -> Tensor:
        return torch.cat(tensors, self.dim)


class Slice(nn.Module):
    """A stretch of one dimension; ``one`` takes a single place and drops the dimension."""

    def __init__(self, dim: int, start: int, length: int = 1, step: int = 1, one: bool = False) -> None:
        super().__init__()
        self.dim, self.start, self.length, self.step, self.one = dim, start, length, step, one

    def forward(self, x: Tensor) -> Tensor:
        if self.one:
            return x.select(self.dim, self.start)
        taken = x.narrow(self.dim, self.start, (self.length - 1) * self.step + 1)
        return taken if self.step == 1 else taken[(slice(None),) * self.dim + (slice(None, None, self.step),)]


class Flip(nn.Module):
    """One dimension backwards: RGB to BGR."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(self.dim)


class Pad(nn.Module):
    """Padding as :func:`torch.nn.functional.pad` counts it, last dimension first."""

    def __init__(self, pads: Sequence[int], mode: str = "constant", value: float = 0.0) -> None:
        super().__init__()
        self.pads, self.mode, self.value = list(pads), mode, value

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.pads, self.mode, self.value if self.mode == "constant" else None)


class Clip(nn.Module):
    """scale * x + shift, held between two numbers (either may be None)."""

    def __init__(self, low: float | None = None, high: float | None = None, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.low, self.high, self.scale, self.shift = low, high, scale, shift

    def forward(self, x: Tensor) -> Tensor:
        if (self.scale, self.shift) != (1.0, 0.0):
            x = x * self.scale + self.shift
        return x if self.low is None and self.high is None else x.clamp(self.low, self.high)


class Normalize(nn.Module):
    """Vectors of length 1 along a dimension."""

    def __init__(self, dim: int, p: float = 2.0) -> None:
        super().__init__()
        self.dim, self.p = dim, p

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, self.p, self.dim)


class Resize(nn.Module):
    """A map of another height and width."""

    def __init__(self, size: Sequence[int], mode: str = "nearest") -> None:
        super().__init__()
        self.size, self.mode = list(size), mode

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.size, mode=self.mode, align_corners=None if self.mode == "nearest" else False)


def _batchnorm(channels: int, rank: int = 4, eps: float = 1e-5) -> nn.Module:
    return (nn.BatchNorm2d if rank == 4 else nn.BatchNorm1d)(channels, eps=eps)


def _conv(inputs: int, outputs: int, kernel: Sequence[int], bias: bool = False, groups: int = 1, **places: Any) -> nn.Module:
    height, width = kernel
    more: dict[str, Any] = {k: tuple(v) for k, v in places.items()}
    return nn.Conv2d(inputs, outputs, (height, width), bias=bias, groups=groups, **more)


def _pool(kind: type[nn.Module], kernel: Sequence[int], **more: Any) -> nn.Module:
    return kind(tuple(kernel), **{k: tuple(v) if isinstance(v, list | tuple) else v for k, v in more.items()})


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "apply": Apply,
    "avg_pool": lambda **args: _pool(nn.AvgPool2d, **args),
    "batchnorm": _batchnorm,
    "clip": Clip,
    "concat": Concat,
    "constant": Constant,
    "conv": _conv,
    "elu": nn.ELU,
    "flip": Flip,
    "gelu": lambda approximate="none": nn.GELU(approximate),
    "groupnorm": lambda groups, channels, eps=1e-5, affine=True: nn.GroupNorm(groups, channels, eps, affine),
    "identity": nn.Identity,
    "layernorm": lambda shape, eps=1e-5, affine=True: nn.LayerNorm(list(shape), eps, affine),
    "leaky_relu": nn.LeakyReLU,
    "linear": lambda inputs, outputs, bias=True: nn.Linear(inputs, outputs, bias),
    "max_pool": lambda **args: _pool(nn.MaxPool2d, **args),
    "normalize": Normalize,
    "pad": Pad,
    "permute": Permute,
    "prelu": nn.PReLU,
    "reduce": Reduce,
    "relu": nn.ReLU,
    "reshape": Reshape,
    "resize": Resize,
    "slice": Slice,
    "softmax": nn.Softmax,
    "squeeze": Squeeze,
}
