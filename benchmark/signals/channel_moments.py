"""What normalisation layers see: moments of each photo's channels, and their distance from reference statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.interfaces import NotApplicableError, Photos, SignalRequest, Statistics
from benchmark.models.inputs import to_input
from benchmark.signals.target import Target

EPS = 1e-5
BATCH = 128
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
Moments = tuple[Tensor, Tensor]  # per channel: mean (C,), variance (C,)


def normalisation_layers(backbone: nn.Module, reference: Statistics) -> dict[str, nn.Module]:
    """The layers whose input a ``norm`` signal looks at, in forward order of definition.

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


class FeatureColumns:
    """What one pass gathers from the layers for ``norm`` and ``activations`` requests.

    The hooks keep one or two numbers a channel; distances are computed for all layers at once after the pass, because many
    small operations would cost more than the reductions themselves.
    """

    def __init__(
        self, backbone: nn.Module, requests: Sequence[SignalRequest], references: Mapping[str, ReferenceStatistics]
    ) -> None:
        self._requests = requests
        self._orders: dict[str, list[str]] = {}  # layers of each request
        squared: set[str] = set()
        for request in requests:
            if request.layers == "norm":
                order = list(references[request.reference].moments)
            else:
                order = list(normalisation_layers(backbone, "feature_means"))
            self._orders[request.key] = order
            if request.statistic in ("mean_var", "mean_std"):
                squared.update(order)
        self._references = references
        self._squared = squared
        self._first: dict[str, Tensor] = {}
        self._second: dict[str, Tensor] = {}
        watched = {name for order in self._orders.values() for name in order}
        self.layers = {name: m for name, m in backbone.named_modules() if name in watched}

    def reduce(self, name: str, features: Tensor) -> None:
        """Called by the hook of layer ``name``; squares are taken only where a request wants them."""
        self._first[name] = channel_means(features)
        if name in self._squared:
            self._second[name] = channel_squares(features)

    def results(self) -> dict[str, Tensor]:
        """(B, columns) by request key, layers in order of definition."""
        found = {}
        for request in self._requests:
            order = self._orders[request.key]
            first = torch.cat([self._first[name] for name in order], dim=1)
            second = first
            if request.statistic in ("mean_var", "mean_std"):
                second = torch.cat([self._second[name] for name in order], dim=1)
            sizes = [self._first[name].shape[1] for name in order]
            if request.layers == "norm":
                found[request.key] = self._distances(request, order, sizes, first, second)
            elif request.statistic == "mean":
                found[request.key] = first
            else:
                spread = (second - first.square()).clamp_min(0) @ _layer_means(sizes, first)
                found[request.key] = torch.cat([first, (spread + 1e-12).sqrt()], dim=1)
        return found

    def _distances(
        self, request: SignalRequest, order: Sequence[str], sizes: Sequence[int], first: Tensor, second: Tensor
    ) -> Tensor:
        moments = self._references[request.reference].moments
        mean, var = (torch.cat([moments[name][i] for name in order]) for i in (0, 1))
        over_layers = _layer_means(sizes, first)
        parts = [term @ over_layers for term in squared_deviations(first, second, (mean, var), request.statistic)]
        return torch.stack(parts, dim=2).flatten(1)


def _layer_means(sizes: Sequence[int], like: Tensor) -> Tensor:
    """Matrix (C_1 + .. + C_L, L) that averages the channels of each layer."""
    layer = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return F.one_hot(layer, len(sizes)).to(like) / torch.tensor(sizes).to(like)
