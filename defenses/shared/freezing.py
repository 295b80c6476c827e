"""Layers of a backbone kept as they are: their weights, and the statistics of their norms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


def layers(backbone: nn.Module) -> list[nn.Module]:
    """Layers with parameters of their own, in the order in which they were built: first those next to the photo."""
    return [m for m in backbone.modules() if next(m.parameters(recurse=False), None) is not None]


def first_layers(backbone: nn.Module, share: float) -> list[nn.Module]:
    """The first ``share`` of the layers, rounded to whole ones; the last layer is never among them."""
    found = layers(backbone)
    return found[: min(len(found) - 1, round(share * len(found)))]


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """While open, none of these parameters is trained."""
    kept = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in kept:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in kept:
            parameter.requires_grad_(True)
