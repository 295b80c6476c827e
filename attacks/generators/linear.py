"""Fully connected layers with an equalised learning rate (arXiv 1710.10196, section 4.1)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2  # of every leaky ReLU
GAIN = math.sqrt(2)  # keeps the variance behind a leaky ReLU


def lrelu(x: Tensor, gain: float = GAIN) -> Tensor:
    """Leaky ReLU times ``gain``."""
    return F.leaky_relu(x, SLOPE) * gain


class Linear(nn.Module):
    """``x @ (weight * g).T + bias * lr_multiplier`` with g = lr_multiplier / sqrt(inputs); (B, inputs) -> (B, outputs).

    Weights are stored with unit variance and scaled when used, so that one learning rate suits every layer.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.weight_gain, self.bias_gain = lr_multiplier / math.sqrt(inputs), lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        bias = self.bias if self.bias_gain == 1 else self.bias * self.bias_gain
        return F.linear(x, self.weight * self.weight_gain, bias)
