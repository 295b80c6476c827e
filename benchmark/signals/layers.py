"""Signals of the normalisation layers: distances from reference statistics, and the channels' means themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from torch import Tensor

from benchmark.interfaces import SignalRequest
from benchmark.signals.channel_moments import FeatureColumns, ReferenceStatistics, normalisation_layers, recording
from benchmark.signals.head import HeadClasses
from benchmark.signals.kind import Batch, Look, SignalKind
from benchmark.signals.target import Target


class LayerKind(SignalKind):
    """``norm`` and ``activations``; one kind, because both are made of the same moments."""

    def check(self, target: Target, request: SignalRequest, head: HeadClasses | None) -> None:
        """The layers that it looks at must exist."""
        normalisation_layers(target.backbone, request.reference if request.layers == "norm" else "feature_means")

    def source(
        self, target: Target, request: SignalRequest, references: Mapping[str, ReferenceStatistics], head: HeadClasses | None
    ) -> str:
        """Where the statistics come from that photos are compared with."""
        return references[request.reference].digest if request.layers == "norm" else ""

    def watch(self, batch: Batch, requests: Sequence[SignalRequest], stack: ExitStack) -> FeatureColumns:
        """Hooks that reduce the layers' inputs."""
        columns = FeatureColumns(batch.target.backbone, requests, batch.references)
        stack.enter_context(recording(columns.layers, columns.reduce))
        return columns

    def measure(self, look: Look, requests: Sequence[SignalRequest]) -> dict[str, Tensor]:
        """See :class:`SignalKind`."""
        columns: FeatureColumns = look.watched[self]
        return columns.results()
