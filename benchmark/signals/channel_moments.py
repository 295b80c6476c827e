"""What normalisation layers see: moments of each photo's channels, and their distance from reference statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.interfaces import NotApplicableError, Photos, Statistics
from benchmark.models.inputs import to_input
from benchmark.signals.target import Target

EPS = 1e-5
BATCH = 128
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
Moments = tuple[Tensor, Tensor]  # per channel: mean (C,), variance (C,)


def normalisation_layers(backbone: nn.Module, reference: Statistics) -> dict[str, nn.Module]:
    """The layers whose input signals of layers look at, in forward order of definition.

    BatchNorm layers; with ``feature_means`` every normalisation layer, or, where there are none, every convolution.

    Raises:
        NotApplicableError: the statistics asked for do not exist in this backbone.
    """
    modules = dict(backbone.named_modules())
    layers: dict[str, nn.Module]
    if reference == "feature_means":
        layers = {name: m for name, m in modules.items() if isinstance(m, NORMS)}
        layers = layers or {name: m for name, m in modules.items() if isinstance(m, nn.Conv2d)}
        if not layers:
            raise NotApplicableError("the backbone has neither normalisation layers nor convolutions to take feature means of.")
        return layers
    layers = {
        name: m for name, m in modules.items() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None
    }
    if not layers:
        raise NotApplicableError(
            "the backbone has no BatchNorm statistics; attack the means of its features instead (statistics=feature_means)."
        )
    return layers


def _places(features: Tensor) -> Tensor:
    """Features (B, C, H, W), (B, tokens, C) or (B, C) with one axis for space: averages are over the axis given by ``-2``."""
    if features.dim() == 4:
        return features.flatten(2).mT
    return features if features.dim() == 3 else features[:, None]


def channel_means(features: Tensor) -> Tensor:
    """Mean of each photo's channels over space, (B, C); ``features`` is (B, C, H, W), (B, tokens, C) or (B, C)."""
    return features if features.dim() == 2 else _places(features).mean(1)


def channel_squares(features: Tensor) -> Tensor:
    """Second moment of each photo's channels over space, (B, C)."""
    return features.square() if features.dim() == 2 else _places(features).square().mean(1)


def channel_moments(features: Tensor) -> Moments:
    """First and second moment of each photo's channels over space, both (B, C)."""
    return channel_means(features), channel_squares(features)


@contextmanager
def recording(layers: Mapping[str, nn.Module], keep: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Hands every layer's input (a convolution's output) to ``keep`` while open."""
    handles = []
    for name, layer in layers.items():
        if isinstance(layer, nn.Conv2d):
            handles.append(layer.register_forward_hook(lambda _m, _i, out, name=name: keep(name, out)))
        else:
            handles.append(layer.register_forward_pre_hook(lambda _m, args, name=name: keep(name, args[0])))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def squared_deviations(first: Tensor, second: Tensor, moments: Moments, statistic: str) -> list[Tensor]:
    """Per channel, how far photos' moments are from reference moments: one or two tensors (B, C).

    ``mean``: (v̄ - u)^2, whose mean over a layer is d_i (arXiv 2401.13719).  ``mean_var``: the same weighted by 1/variance,
    and the squared deviation of the standard deviations' ratio from 1.
    """
    mean, var = moments
    bias = (first - mean).square()
    if statistic == "mean":
        return [bias]
    scale = var.clamp_min(EPS)
    # E[(v - u)^2] over space; as variance and bias, because u^2 may be far larger than either
    around_mean = (second - first.square()).clamp_min(0) + bias
    return [bias / scale, ((around_mean / scale).sqrt() - 1).square()]


def distance(first: Tensor, second: Tensor, moments: Moments, statistic: str) -> Tensor:
    """Distance of photos' channel statistics from one layer's reference moments, (B, 1) or (B, 2).

    Args:
        first, second: channel moments (B, C) of the photos, see :func:`channel_moments`.
        moments: reference mean and variance, (C,) each.
        statistic: see :func:`squared_deviations`; the mean over channels is taken.
    """
    return torch.stack([d.mean(1) for d in squared_deviations(first, second, moments, statistic)], dim=1)


@dataclass(frozen=True)
class ReferenceStatistics:
    """Per-layer moments that photos are compared with; ``digest`` says where they come from."""

    moments: Mapping[str, Moments]
    digest: str


def stored_statistics(backbone: nn.Module) -> ReferenceStatistics:
    """The running statistics that the BatchNorm layers carry."""
    moments: dict[str, Moments] = {}
    for name, layer in normalisation_layers(backbone, "stored").items():
        mean, variance = layer.running_mean, layer.running_var
        assert isinstance(mean, Tensor)
        assert isinstance(variance, Tensor)
        moments[name] = (mean.detach(), variance.detach())
    return ReferenceStatistics(moments, "stored")


def estimated_statistics(target: Target, photos: Photos, reference: Statistics) -> ReferenceStatistics:
    """Channel means and variances of the same features, estimated on photos the attacker holds; streaming.

    What an attacker does when the stored statistics are hidden, perturbed or absent.
    """
    backbone = target.backbone
    layers = normalisation_layers(backbone, reference)
    sums: dict[str, tuple[Tensor, Tensor]] = {}

    def add(name: str, features: Tensor) -> None:
        first, second = channel_moments(features)
        total = sums.get(name)
        batch = (first.double().sum(0), second.double().sum(0))
        sums[name] = batch if total is None else (total[0] + batch[0], total[1] + batch[1])

    with torch.inference_mode(), recording(layers, add):
        for start in range(0, len(photos), BATCH):
            images = photos.load(np.arange(start, min(start + BATCH, len(photos))))
            backbone(to_input(images.to(target.device), target.input))
    moments = {}
    for name, (first, second) in sums.items():
        mean = first / len(photos)
        moments[name] = (mean.float(), (second / len(photos) - mean.square()).clamp_min(0).float())
    return ReferenceStatistics(moments, f"{reference}:{photos.digest}")
