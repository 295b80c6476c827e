"""BatchNorm statistics estimated again on photos of one's choice: by an attacker, or by a defence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmark.interfaces import Photos
from benchmark.models.inputs import to_input
from benchmark.models.normalisation import batchnorms
from benchmark.protocol.track import InputSpec

BATCH = 128


def with_statistics(backbone: nn.Module) -> dict[str, Any]:
    """The BatchNorm layers that keep running statistics, by name."""
    return {name: layer for name, layer in batchnorms(backbone).items() if layer.running_mean is not None}


def inputs_of(photos: Photos, spec: InputSpec, device: torch.device, batch: int = BATCH) -> Iterator[torch.Tensor]:
    """Normalised inputs of all photos in batches of about ``batch``, in order, none of a single photo."""
    for index in np.array_split(np.arange(len(photos)), max(1, len(photos) // batch)):
        yield to_input(photos.load(index).to(device), spec)


def reestimate(backbone: nn.Module, photos: Photos, spec: InputSpec, device: torch.device, batch: int = BATCH) -> nn.Module:
    """``backbone`` with the statistics of every BatchNorm replaced by the plain average over batches of ``photos``, in place.

    The modes of all layers, and everything else about them, stay as they are.
    """
    layers = list(with_statistics(backbone).values())
    with _modes_kept(backbone), torch.inference_mode(False), torch.no_grad():
        backbone.eval()
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain average over the batches
            layer.train()
        try:
            for inputs in inputs_of(photos, spec, device, batch):
                backbone(inputs)
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
    return backbone


@contextmanager
def _modes_kept(backbone: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in backbone.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
