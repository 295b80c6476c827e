"""Running average of weights along a training run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """Exponential moving average of the trainable parameters of modules.

    The decay of step t is min(decay, (1 + t) / (10 + t)), so that the first weights are forgotten (arXiv 2204.13650, section
    3.3).  What is computed from released weights alone costs no further privacy.
    """

    def __init__(self, decay: float, *modules: nn.Module) -> None:
        self.decay = decay
        self.parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Takes the present weights in."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for mean, parameter in zip(self.average, self.parameters, strict=True):
            mean.lerp_(parameter.detach(), 1 - decay)
        self.steps += 1

    @torch.no_grad()
    def apply(self) -> None:
        """Puts the average in the place of the weights."""
        for mean, parameter in zip(self.average, self.parameters, strict=True):
            parameter.copy_(mean)

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep."""
        return {"average": self.average, "steps": self.steps}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state."""
        for mean, kept in zip(self.average, state["average"], strict=True):
            mean.copy_(kept)
        self.steps = state["steps"]
