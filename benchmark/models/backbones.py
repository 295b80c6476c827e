"""Backbones: face-recognition networks registered into timm, and any timm model with a pooled feature.

After ``import benchmark.models.backbones``, ``timm.create_model("mobilefacenet", width=0.5, input_size=(48, 48))`` works like
any
other timm model; :func:`create` is the same with messages for users and without any path to a download.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from benchmark.interfaces import FaceVeilError
from benchmark.models import graph_network
from benchmark.models.input_transforms import fronted
from benchmark.models.ir_se import IRSE
from benchmark.models.iresnet import IResNet
from benchmark.models.mobilefacenet import MobileFaceNet
from benchmark.models.normalisation import exchange
from benchmark.protocol import registry
from benchmark.protocol.track import InputSpec

_NAMES = (
    "mobilefacenet",
    "iresnet_slim",
    "iresnet18",
    "iresnet34",
    "iresnet50",
    "iresnet100",
    "ir_se_50",
)
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
default_cfgs = generate_default_cfgs(dict.fromkeys(_NAMES, _CONFIG))

# timm arguments that would fetch or read weights, or change what the model returns.
_RESERVED = frozenset(
    ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "features_only", "num_classes")
)


def _build(model: type[nn.Module], name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    if kwargs.pop("num_classes", 0) or pretrained:
        raise FaceVeilError(f"{name} has no classifier and no published weights: leave out num_classes and pretrained.")
    return build_model_with_cfg(model, name, False, kwargs_filter=("num_classes", "in_chans", "global_pool"), **kwargs)


@register_model
def mobilefacenet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MobileFaceNet, 1.0 M parameters, 128-d."""
    return _build(MobileFaceNet, "mobilefacenet", pretrained, **kwargs)


@register_model
def iresnet_slim(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IResNet-18 with a quarter of the channels and a strided stem, 0.8 M parameters, 128-d: trains on a CPU."""
    small = {"layers": (2, 2, 2, 2), "width": 0.25, "stem_stride": 2, "embedding_size": 128}
    return _build(IResNet, "iresnet_slim", pretrained, **(small | kwargs))


@register_model
def iresnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IResNet-18, 24 M parameters, 512-d."""
    return _build(IResNet, "iresnet18", pretrained, layers=(2, 2, 2, 2), **kwargs)


@register_model
def iresnet34(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IResNet-34, 34 M parameters, 512-d."""
    return _build(IResNet, "iresnet34", pretrained, layers=(3, 4, 6, 3), **kwargs)


@register_model
def iresnet50(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IResNet-50, 44 M parameters, 512-d."""
    return _build(IResNet, "iresnet50", pretrained, layers=(3, 4, 14, 3), **kwargs)


@register_model
def iresnet100(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IResNet-100, 65 M parameters, 512-d."""
    return _build(IResNet, "iresnet100", pretrained, layers=(3, 13, 30, 3), **kwargs)


@register_model
def ir_se_50(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IR-SE-50, 44 M parameters, 512-d."""
    return _build(IRSE, "ir_se_50", pretrained, layers=(3, 4, 14, 3), **kwargs)


def names() -> list[str]:
    """The face-recognition backbones of this project and of plug-ins; every other timm name works too."""
    return [*_NAMES, *registry.backbones()]


def create(name: str, kwargs: Mapping[str, Any] | None = None) -> nn.Module:
    """A freshly initialised backbone: normalised images (B, 3, H, W) to embeddings (B, D).

    Weights come from torch's current random state; see ``training.seeded``.  The argument ``norm`` ("batch", "group", "layer")
    works with every model: see :mod:`benchmark.models.normalisation`; ``front`` with every one that starts with a convolution:
    see :mod:`benchmark.models.input_transforms`.

    Raises:
        FaceVeilError: unknown name, or arguments that the model does not take or that are not a card's to set.
    """
    kwargs = dict(kwargs or {})
    reserved = sorted(_RESERVED.intersection(kwargs))
    if reserved:
        raise FaceVeilError(f"backbone {name!r}: {', '.join(reserved)} cannot be set here; give architecture arguments only.")
    known = timm.is_model(name) or name == graph_network.NAME
    if not known and name not in registry.backbones():
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise FaceVeilError(
            f"unknown backbone {name!r}.{hint} Ours: {', '.join(names())}; any name of timm.list_models() works."
        )
    if name not in (*_NAMES, graph_network.NAME):
        kwargs["num_classes"] = 0
    norm, front = kwargs.pop("norm", "batch"), kwargs.pop("front", None)
    try:
        given = name == graph_network.NAME  # as a list of steps, as an imported ONNX file is
        backbone = graph_network.GraphNetwork(**kwargs) if given else timm.create_model(name, pretrained=False, **kwargs)
        return exchange(backbone if front is None else fronted(backbone, front), norm)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise FaceVeilError(f"backbone {name!r} cannot be built with {kwargs}: {error}") from error


def complete_kwargs(name: str, kwargs: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """``kwargs`` with the image size that our backbones need at construction filled in, as JSON data."""
    kwargs = dict(kwargs)
    if name in _NAMES:
        kwargs["input_size"] = list(kwargs.get("input_size", size))
    return kwargs


def embedding_size(backbone: nn.Module, spec: InputSpec) -> int:
    """D of the embeddings (B, D) that ``backbone`` returns at this input size; leaves the module as it was.

    Raises:
        FaceVeilError: the backbone does not take this size, or returns something else than (B, D).
    """
    fixed = tuple(getattr(backbone, "input_size", spec.size))
    if fixed != tuple(spec.size):
        raise FaceVeilError(
            f"the backbone was built for {fixed[0]} x {fixed[1]} images (height x width) and is given "
            f"{spec.size[0]} x {spec.size[1]}: set input_size in its arguments."
        )
    parameter = next(backbone.parameters())
    images = torch.zeros(2, 3, *spec.size, device=parameter.device, dtype=parameter.dtype)
    training = backbone.training
    try:
        with torch.inference_mode():
            out = backbone.eval()(images)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise FaceVeilError(
            f"the backbone does not take {spec.size[0]} x {spec.size[1]} images: {error}. "
            "Set input_size (our backbones) or img_size (timm transformers) in its arguments."
        ) from error
    finally:
        backbone.train(training)
    if not isinstance(out, torch.Tensor) or out.dim() != 2:
        shape = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise FaceVeilError(
            f"a backbone must return embeddings (B, D), this one returned {shape}: choose one with a pooled feature."
        )
    return out.shape[1]
