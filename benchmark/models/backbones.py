"""Backbones: face-recognition networks of this project, and any timm model with a pooled feature.

:func:`create` has messages for users and no path to a download.  timm is imported for its own models only: it takes longer to
import than torch itself.  After ``import benchmark.models.timm_names`` timm knows our networks, too.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmark.interfaces import FaceVeilError
from benchmark.models import graph_network
from benchmark.models.edgeface import EdgeFace
from benchmark.models.face_vit import FaceViT
from benchmark.models.ghostfacenet import GhostFaceNet
from benchmark.models.inception_resnet import InceptionResnetV1
from benchmark.models.input_transforms import fronted
from benchmark.models.ir_se import IRSE
from benchmark.models.iresnet import IResNet
from benchmark.models.mobilefacenet import MobileFaceNet
from benchmark.models.mobilefacenet_insightface import MobileFaceNetArcFace, MobileFaceNetIRSE
from benchmark.models.normalisation import exchange
from benchmark.protocol import registry
from benchmark.protocol.track import InputSpec

_DEPTHS = {
    "18": (2, 2, 2, 2), "34": (3, 4, 6, 3), "50": (3, 4, 14, 3), "100": (3, 13, 30, 3), "101": (3, 4, 23, 3),
    "152": (3, 8, 36, 3), "185": (3, 22, 33, 3),
}  # fmt: skip
_SE_200 = (3, 24, 36, 3)
_PLAIN_200 = (6, 26, 60, 6)
# IResNet-18 with a quarter of the channels and a strided stem
_SLIM: dict[str, Any] = {"layers": (2, 2, 2, 2), "width": 0.25, "stem_stride": 2, "embedding_size": 128}
OURS: dict[str, Callable[..., nn.Module]] = {
    "mobilefacenet": MobileFaceNet,
    "iresnet_slim": lambda **kwargs: IResNet(**(_SLIM | kwargs)),
    **{f"iresnet{depth}": partial(IResNet, layers=layers) for depth, layers in _DEPTHS.items() if depth != "185"},
    "iresnet200": partial(IResNet, layers=_PLAIN_200),
    **{f"ir_{depth}": partial(IRSE, layers=_DEPTHS[depth], se=False) for depth in ("18", "34", "50", "100", "152")},
    "ir_200": partial(IRSE, layers=_SE_200, se=False, middle_norm=True, bottleneck=True),
    **{f"ir_se_{depth}": partial(IRSE, layers=layers) for depth, layers in _DEPTHS.items()},
    "ir_se_200": partial(IRSE, layers=_SE_200),
    "mobilefacenet_irse": MobileFaceNetIRSE,
    "mobilefacenet_arcface": MobileFaceNetArcFace,
    "inception_resnet_face": InceptionResnetV1,
    "edgeface": EdgeFace,
    "face_vit": FaceViT,
    "ghostfacenet": GhostFaceNet,
}

# timm arguments that would fetch or read weights, or change what the model returns.
_RESERVED = frozenset(
    ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "features_only", "num_classes")
)


def names() -> list[str]:
    """The face-recognition backbones of this project and of plug-ins; every other timm name works too."""
    return [*OURS, *registry.backbones()]


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
    norm, front = kwargs.pop("norm", "batch"), kwargs.pop("front", None)
    # an imported ONNX file is given as a list of steps
    make = graph_network.GraphNetwork if name == graph_network.NAME else OURS.get(name) or _of_timm(name)
    try:
        backbone = make(**kwargs)
        return exchange(backbone if front is None else fronted(backbone, front), norm)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise FaceVeilError(f"backbone {name!r} cannot be built with {kwargs}: {error}") from error


def _of_timm(name: str) -> Callable[..., nn.Module]:
    """A model of timm's or of a plug-in, without its classifier."""
    import timm

    if not timm.is_model(name) and name not in registry.backbones():
        near = difflib.get_close_matches(name, [*OURS, *timm.list_models()], n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise FaceVeilError(
            f"unknown backbone {name!r}.{hint} Ours: {', '.join(names())}; any name of timm.list_models() works."
        )
    return partial(timm.create_model, name, pretrained=False, num_classes=0)


def complete_kwargs(name: str, kwargs: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """``kwargs`` with the image size that our backbones need at construction filled in, as JSON data."""
    kwargs = dict(kwargs)
    if name in OURS:
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
