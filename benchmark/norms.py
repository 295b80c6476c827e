"""Exchange of a backbone's BatchNorm layers, as a card can name it: ``{"norm": "group"}`` in the backbone's arguments."""

from __future__ import annotations

from typing import Literal

from torch import nn

from benchmark.interfaces import FaceVeilError

NORMS = ("batch", "group", "layer")
Norm = Literal["batch", "group", "layer"]
CHANNELS_PER_GROUP = 8


def groups_of(channels: int) -> int:
    """Groups of 8 channels, or of the next larger size that divides ``channels``."""
    for size in range(CHANNELS_PER_GROUP, channels + 1):
        if channels % size == 0:
            return channels // size
    return 1


def _replacement(layer: nn.Module, norm: str) -> nn.Module | None:
    if not isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return None
    channels = layer.num_features
    # On (B, C) features groups are too small to normalise over: the whole vector is one group there.
    whole = norm == "layer" or isinstance(layer, nn.BatchNorm1d)
    return nn.GroupNorm(1 if whole else groups_of(channels), channels, eps=layer.eps, affine=layer.affine)


def exchange(backbone: nn.Module, norm: str) -> nn.Module:
    """``backbone`` with every BatchNorm replaced, in place, by GroupNorm, or by GroupNorm over all channels (``layer``).

    The new layers couple no samples and keep no statistics of the data.

    Raises:
        FaceVeilError: an unknown norm, or no BatchNorm to replace.
    """
    if norm not in NORMS:
        raise FaceVeilError(f"unknown norm {norm!r} for a backbone; one of {', '.join(NORMS)}.")
    if norm == "batch":
        return backbone
    replaced = 0
    for parent in list(backbone.modules()):
        for name, child in list(parent.named_children()):
            new = _replacement(child, norm)
            if new is not None:
                setattr(parent, name, new)
                replaced += 1
    if not replaced:
        raise FaceVeilError(f"norm={norm!r}: the backbone has no BatchNorm layer to replace.")
    return backbone
