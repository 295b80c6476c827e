"""Noise on the BatchNorm statistics of a trained backbone."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from benchmark.interfaces import AttackSpec, Defense, FaceVeilError, Reference, ReleaseContext
from defenses.shared.adaptive import against_changed_statistics


class BNPerturbation(Defense):
    """u += N(0, (rho sd)^2) and var *= exp(N(0, rho^2)) on every BatchNorm layer, drawn once at release.

    It hides the running mean that the BN distance reads; it does not touch the weights, so an attacker who estimates the
    statistics again on public faces, or who never reads them, sees nothing of it.
    """

    name: ClassVar[str] = "bn_perturbation"
    title: ClassVar[str] = "BatchNorm noise"
    summary: ClassVar[str] = "Gaussian noise on the BatchNorm running statistics at release."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    family: ClassVar[str] = "bn_statistics"
    post_hoc: ClassVar[bool] = True
    draws_noise: ClassVar[bool] = True
    needs_batchnorm: ClassVar[bool] = True

    rho: float = Field(0.1, ge=0, le=10, description="noise in standard deviations of the channel")

    def release(self, backbone: nn.Module, context: ReleaseContext) -> nn.Module:
        layers = [
            m for m in backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None
        ]
        if not layers:
            raise FaceVeilError(
                "bn_perturbation: the backbone has no BatchNorm statistics to perturb; choose a backbone with BatchNorm."
            )
        generator = torch.Generator().manual_seed(context.noise_seed)
        for layer in layers:
            mean, variance = layer.running_mean, layer.running_var
            assert mean is not None
            assert variance is not None
            mean_noise = torch.randn(mean.shape, generator=generator).to(mean)
            var_noise = torch.randn(variance.shape, generator=generator).to(variance)
            mean += self.rho * variance.sqrt() * mean_noise
            variance *= torch.exp(self.rho * var_noise)
        return backbone

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Whoever holds the weights estimates the statistics again, for the distances and for the backbone itself."""
        return against_changed_statistics()
