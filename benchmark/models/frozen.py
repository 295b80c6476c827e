"""A network that is only looked at: weights frozen, and what makes a processor slow taken out of it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NOTHING = 1e-20  # a weight that can change no embedding


def frozen(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, its parameters without gradients; changed in place.

    Weights below :data:`NOTHING`, of channels that training switched off, become 0.  They and their products with activations
    are subnormal numbers, with which processors calculate up to a hundred times slower: a published network with some thousand
    such weights took ten times as long.
    """
    network.eval().requires_grad_(False)
    for tensor in network.parameters():
        tensor.masked_fill_(tensor.abs() < NOTHING, 0)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.PReLU:
                setattr(parent, name, FrozenPReLU.of(child))
    return network


class FrozenPReLU(nn.PReLU):
    """PReLU whose gradient by its input takes a quarter of torch's time on a processor while its slopes are frozen."""

    @classmethod
    def of(cls, layer: nn.PReLU) -> FrozenPReLU:
        """The same layer, sharing its slopes."""
        made = cls(layer.num_parameters)
        made.weight = layer.weight
        return made.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.requires_grad or not (x.requires_grad and torch.is_grad_enabled()):
            return F.prelu(x, self.weight)
        return _PReLU.apply(x, self.weight)  # type: ignore[no-any-return]


class _PReLU(torch.autograd.Function):
    """torch branches on every number, and on activations of both signs the branch is mispredicted half of the time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.prelu(x, slope)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, slope = ctx.saved_tensors
        by_channel = slope.view(1, -1, *[1] * (x.dim() - 2)) if x.dim() > 1 else slope
        positive = torch.ops.aten.threshold_backward(gradient, x, 0)  # the gradient where x > 0, else 0
        return torch.lerp(positive, gradient, by_channel), None
