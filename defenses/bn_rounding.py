"""BatchNorm statistics rounded to a few levels."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.interfaces import AttackSpec, Defense, Reference, ReleaseContext
from benchmark.models.bn_statistics import with_statistics
from defenses.shared.adaptive import against_changed_statistics


class BNRounding(Defense):
    """Running means and the logarithms of running variances, rounded to 2^bits evenly spaced levels per layer at release."""

    name: ClassVar[str] = "bn_rounding"
    title: ClassVar[str] = "BatchNorm rounding"
    summary: ClassVar[str] = "BatchNorm running statistics rounded to 2^bits levels a layer at release."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    family: ClassVar[str] = "bn_statistics"
    post_hoc: ClassVar[bool] = True
    needs_batchnorm: ClassVar[bool] = True

    bits: int = Field(4, ge=1, le=16, description="levels are 2^bits between the smallest and the largest value of a layer")

    def release(self, backbone: nn.Module, context: ReleaseContext) -> nn.Module:  # noqa: ARG002
        for layer in with_statistics(backbone).values():
            layer.running_mean.copy_(rounded(layer.running_mean, self.bits))
            tiny = torch.finfo(layer.running_var.dtype).tiny  # a dead channel has no variance and no logarithm
            layer.running_var.copy_(rounded(layer.running_var.clamp_min(tiny).log(), self.bits).exp())
        return backbone

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Statistics estimated again are not rounded."""
        return against_changed_statistics()


def rounded(values: Tensor, bits: int) -> Tensor:
    """``values`` on a grid of 2^bits levels from their minimum to their maximum; the error is at most half a step."""
    low = values.min()
    step = (values.max() - low) / (2**bits - 1)
    return values if step == 0 else low + ((values - low) / step).round() * step
