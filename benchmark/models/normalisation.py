"""Exchange of a backbone's BatchNorm layers, as a card can name it: ``{"norm": "group"}`` in the backbone's arguments.

``group`` and ``layer`` normalise every photo by itself.  ``none`` normalises nothing: convolutions that fed a BatchNorm get
standardised weights with a gain (arXiv 2101.08692) and a bias.  ``folded`` is the shape of a trained BatchNorm network after
:func:`fold`: nothing is normalised and no statistics are left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.interfaces import BackboneSpec, FaceVeilError

NORMS = ("batch", "group", "layer", "none", "folded")
Norm = Literal["batch", "group", "layer", "none", "folded"]
CHANNELS_PER_GROUP = 8
BatchNorm = nn.modules.batchnorm._BatchNorm


class ChannelAffine(nn.Module):
    """x * weight + bias, channel by channel, of (B, C, H, W) or (B, C); then the activation that the norm had, if any."""

    def __init__(self, channels: int, act: nn.Module | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.act = act or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (x.dim() - 2)
        out: Tensor = self.act(x * self.weight.view(shape) + self.bias.view(shape))
        return out


def groups_of(channels: int) -> int:
    """Groups of 8 channels, or of the next larger size that divides ``channels``."""
    for size in range(CHANNELS_PER_GROUP, channels + 1):
        if channels % size == 0:
            return channels // size
    return 1


def exchange(backbone: nn.Module, norm: str) -> nn.Module:
    """``backbone`` with every BatchNorm replaced, in place; the new layers couple no samples and keep no statistics.

    Args:
        norm: ``batch`` (nothing changes), ``group``, ``layer`` (GroupNorm over all channels), ``none`` or ``folded``.

    Raises:
        FaceVeilError: an unknown norm, or no BatchNorm to replace.
    """
    if norm not in NORMS:
        raise FaceVeilError(f"unknown norm {norm!r} for a backbone; one of {', '.join(NORMS)}.")
    if norm == "batch":
        return backbone
    layers = batchnorms(backbone)
    if not layers:
        raise FaceVeilError(f"norm={norm!r}: the backbone has no BatchNorm layer to replace.")
    sources = sources_of(backbone)
    for name, layer in layers.items():
        if norm in ("group", "layer"):
            _put(backbone, name, _group_norm(layer, whole=norm == "layer"))
            continue
        source = sources.get(name)
        if source is None:
            _put(backbone, name, ChannelAffine(layer.num_features, _activation(layer)))
            continue
        _put(backbone, name, _activation(layer) or nn.Identity())
        _add_bias(backbone.get_submodule(source))
        if norm == "none":
            _standardise(backbone, source)
    return backbone


def batchnorms(backbone: nn.Module) -> dict[str, Any]:
    """The BatchNorm layers by name, in the order of their definition."""
    return {name: layer for name, layer in backbone.named_modules() if isinstance(layer, BatchNorm)}


def sources_of(backbone: nn.Module) -> dict[str, str]:
    """BatchNorm -> the convolution or linear layer that feeds it: the leaf defined just before it, with as many channels."""
    found: dict[str, str] = {}
    previous: tuple[str, nn.Module | None] = ("", None)
    for name, layer in backbone.named_modules():
        if next(layer.children(), None) is not None and not isinstance(layer, BatchNorm):
            continue
        if isinstance(layer, BatchNorm):
            source, feeds = previous
            channels = getattr(feeds, "out_channels", getattr(feeds, "out_features", None))
            if isinstance(feeds, nn.Conv2d | nn.Linear) and channels == layer.num_features:
                found[name] = source
        previous = (name, layer)
    return found


def fold(backbone: nn.Module) -> nn.Module:
    """A trained backbone in evaluation mode with its BatchNorm layers folded, in place; its shape is that of ``folded``.

    y = w (x - u) / sqrt(var + eps) + b is taken into the weights and bias of the convolution or linear layer that feeds the
    BatchNorm.  Where none does (a BatchNorm at the entry of a block, in front of a padded convolution), w / sqrt(var + eps) and
    b - w u / sqrt(var + eps) stay as a :class:`ChannelAffine`.

    Raises:
        FaceVeilError: no BatchNorm with statistics to fold.
    """
    scales = {}
    for name, layer in batchnorms(backbone).items():
        if layer.running_mean is None:
            raise FaceVeilError(f"BatchNorm {name!r} keeps no running statistics, so that nothing can be folded.")
        mean, var = layer.running_mean.double(), layer.running_var.double()
        weight = torch.ones_like(mean) if layer.weight is None else layer.weight.detach().double()
        bias = torch.zeros_like(mean) if layer.bias is None else layer.bias.detach().double()
        scale = weight / (var + layer.eps).sqrt()
        scales[name] = (scale, bias - mean * scale)
    sources = sources_of(backbone)
    exchange(backbone, "folded")
    with torch.no_grad():
        for name, (scale, shift) in scales.items():
            taker: Any = backbone.get_submodule(sources.get(name, name))
            if name in sources:
                taker.weight.copy_(taker.weight.double() * scale.view(-1, *[1] * (taker.weight.dim() - 1)))
                shift = shift + taker.bias.double() * scale
            else:
                taker.weight.copy_(scale)
            taker.bias.copy_(shift)
    return backbone


def named(spec: BackboneSpec, norm: str) -> BackboneSpec:
    """The backbone with another norm; ``batch`` is the absence of the argument."""
    kwargs: Mapping[str, Any] = {k: v for k, v in spec.kwargs.items() if k != "norm"}
    return spec.model_copy(update={"kwargs": kwargs if norm == "batch" else {**kwargs, "norm": norm}})


def unfolded(spec: BackboneSpec) -> BackboneSpec:
    """The backbone that was trained before it was folded."""
    return named(spec, "batch") if spec.kwargs.get("norm") == "folded" else spec


def _activation(layer: nn.Module) -> nn.Module | None:
    """The activation that some of timm's norms carry with them."""
    act = getattr(layer, "act", None)
    return act if isinstance(act, nn.Module) and not isinstance(act, nn.Identity) else None


def _group_norm(layer: Any, whole: bool) -> nn.Module:
    channels = layer.num_features
    # On (B, C) features groups are too small to normalise over: the whole vector is one group there.
    groups = 1 if whole or isinstance(layer, nn.BatchNorm1d) else groups_of(channels)
    act = _activation(layer)
    if act is None:
        return nn.GroupNorm(groups, channels, eps=layer.eps, affine=layer.affine)
    from timm.layers.norm_act import GroupNormAct  # timm is slow to import; only its own models carry an activation

    norm = GroupNormAct(channels, groups, eps=layer.eps, affine=layer.affine)
    norm.act = act
    return norm


def _add_bias(layer: Any) -> None:
    if layer.bias is None:
        channels = layer.weight.shape[0]
        layer.bias = nn.Parameter(torch.zeros(channels, device=layer.weight.device, dtype=layer.weight.dtype))


def _standardise(backbone: nn.Module, name: str) -> None:
    """Exchanges a convolution for one with standardised weights; depthwise ones stay, whose filters need their mean."""
    layer = backbone.get_submodule(name)
    if not isinstance(layer, nn.Conv2d) or layer.in_channels == layer.groups:
        return
    from timm.layers.std_conv import ScaledStdConv2d

    shape: tuple[Any, Any, Any, Any] = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    new = ScaledStdConv2d(layer.in_channels, layer.out_channels, *shape, groups=layer.groups)
    new.weight, new.bias = layer.weight, layer.bias
    _put(backbone, name, new)


def _put(backbone: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(backbone.get_submodule(parent), child, module)


_GROUPS = (nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_LAYERS = (nn.LayerNorm, nn.RMSNorm)  # timm's LayerNorm2d is one of torch's


def norm_kinds(backbone: nn.Module) -> set[str]:
    """Which kinds of normalisation a backbone has: any of batch, group, layer."""
    found = set()
    for module in backbone.modules():
        if isinstance(module, _BatchNorm):
            found.add("batch")
        elif isinstance(module, _GROUPS):
            found.add("group")
        elif isinstance(module, _LAYERS):
            found.add("layer")
    return found
