"""Signals of the normalisation layers: distances from reference statistics, and the channels' means themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.interfaces import Access, SignalRequest, Statistics
from benchmark.signals.channel_moments import (
    ReferenceStatistics,
    channel_means,
    channel_squares,
    normalisation_layers,
    recording,
    squared_deviations,
)
from benchmark.signals.kind import Batch, Look, SignalKind
from benchmark.signals.target import HeadClasses, Target


class NormDistance(SignalRequest):
    """Per normalisation layer a distance between the photo's feature statistics and the ``reference`` statistics, (N, L).

    ``statistic`` is ``mean`` (arXiv 2401.13719, d_i) or ``mean_var`` (diagonal Mahalanobis of mean and variance: two columns a
    layer, (N, 2L)).  ``repaired`` puts statistics estimated on public photos back into the backbone first, so that the features
    before later layers are those of a backbone that nobody perturbed.
    """

    statistic: Literal["mean", "mean_var"]
    reference: Statistics = "stored"

    @property
    def access(self) -> Access:
        """Features need the weights."""
        return Access.WEIGHTS

    @property
    def key(self) -> str:
        """See :class:`SignalRequest`."""
        return f"norm.{self.statistic}.{self.reference}.{self.view}"

    @property
    def compared_with(self) -> Statistics:
        """See :class:`SignalRequest`."""
        return self.reference

    @property
    def recalibrates(self) -> bool:
        """See :class:`SignalRequest`."""
        return self.reference == "repaired"


class ChannelMeans(SignalRequest):
    """The spatial means of every channel before every normalisation layer, (N, C_1 + .. + C_L).

    Where there are none, of every convolution's output.  ``mean_std`` adds one standard deviation a layer,
    (N, C_1 + .. + C_L + L).
    """

    statistic: Literal["mean", "mean_std"]

    @property
    def access(self) -> Access:
        """Features need the weights."""
        return Access.WEIGHTS

    @property
    def key(self) -> str:
        """See :class:`SignalRequest`."""
        return f"activations.{self.statistic}.{self.view}"


LayerRequest = NormDistance | ChannelMeans


class LayerKind(SignalKind[LayerRequest]):
    """Both in one kind, because both are made of the same moments."""

    serves = (NormDistance, ChannelMeans)

    def check(self, target: Target, request: LayerRequest, head: HeadClasses | None) -> None:
        """The layers that it looks at must exist."""
        normalisation_layers(target.backbone, request.compared_with or "feature_means")

    def source(
        self,
        target: Target,
        request: LayerRequest,
        references: Mapping[str, ReferenceStatistics],
        head: HeadClasses | None,
    ) -> str:
        """Where the statistics come from that photos are compared with."""
        return references[request.reference].digest if isinstance(request, NormDistance) else ""

    def watch(self, batch: Batch, requests: Sequence[LayerRequest], stack: ExitStack) -> FeatureColumns:
        """Hooks that reduce the layers' inputs."""
        columns = FeatureColumns(batch.target.backbone, requests, batch.references)
        stack.enter_context(recording(columns.layers, columns.reduce))
        return columns

    def measure(self, look: Look, requests: Sequence[LayerRequest]) -> dict[str, Tensor]:
        """See :class:`SignalKind`."""
        columns: FeatureColumns = look.watched[self]
        return columns.results()


class FeatureColumns:
    """What one pass gathers from the layers for distances and means.

    The hooks keep one or two numbers a channel; distances are computed for all layers at once after the pass, because many
    small operations would cost more than the reductions themselves.
    """

    def __init__(
        self,
        backbone: nn.Module,
        requests: Sequence[LayerRequest],
        references: Mapping[str, ReferenceStatistics],
    ) -> None:
        self._requests = requests
        self._orders: dict[str, list[str]] = {}  # layers of each request
        squared: set[str] = set()
        for request in requests:
            if isinstance(request, NormDistance):
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
            if isinstance(request, NormDistance):
                found[request.key] = self._distances(request, order, sizes, first, second)
            elif request.statistic == "mean":
                found[request.key] = first
            else:
                spread = (second - first.square()).clamp_min(0) @ _layer_means(sizes, first)
                found[request.key] = torch.cat([first, (spread + 1e-12).sqrt()], dim=1)
        return found

    def _distances(
        self, request: NormDistance, order: Sequence[str], sizes: Sequence[int], first: Tensor, second: Tensor
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
