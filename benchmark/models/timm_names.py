"""Our backbones as models of timm: after the import ``timm.create_model("mobilefacenet", width=0.5)`` works like any other."""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from benchmark.interfaces import FaceVeilError
from benchmark.models.backbones import OURS

_CONFIG = {
    "url": "",
    "num_classes": 0,
    "input_size": (3, 112, 112),
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "interpolation": "bilinear",
    "crop_pct": 1.0,
    "classifier": None,
}
default_cfgs = generate_default_cfgs(dict.fromkeys(OURS, _CONFIG))


def _build(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    if kwargs.pop("num_classes", 0) or pretrained:
        raise FaceVeilError(f"{name} has no classifier and no published weights: leave out num_classes and pretrained.")
    kwargs["kwargs_filter"] = ("num_classes", "in_chans", "global_pool")
    return build_model_with_cfg(OURS[name], name, False, **kwargs)


@register_model
def mobilefacenet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MobileFaceNet, 1.0 M parameters, 128-d."""
    return _build("mobilefacenet", pretrained, **kwargs)


@register_model
def iresnet_slim(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IResNet-18 with a quarter of the channels and a strided stem, 0.8 M parameters, 128-d: trains on a CPU."""
    return _build("iresnet_slim", pretrained, **kwargs)


@register_model
def iresnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IResNet-18, 24 M parameters, 512-d."""
    return _build("iresnet18", pretrained, **kwargs)


@register_model
def iresnet34(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IResNet-34, 34 M parameters, 512-d."""
    return _build("iresnet34", pretrained, **kwargs)


@register_model
def iresnet50(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IResNet-50, 44 M parameters, 512-d."""
    return _build("iresnet50", pretrained, **kwargs)


@register_model
def iresnet100(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IResNet-100, 65 M parameters, 512-d."""
    return _build("iresnet100", pretrained, **kwargs)


@register_model
def ir_se_50(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IR-SE-50, 44 M parameters, 512-d."""
    return _build("ir_se_50", pretrained, **kwargs)


def _register(name: str) -> None:
    def build(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return _build(name, pretrained, **kwargs)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = "Architecture of published weights: `faceveil import` chooses it where they fit."
    register_model(build)


for _name in OURS:  # the layouts of public weights, which need no lines of their own
    if _name not in globals():
        _register(_name)
