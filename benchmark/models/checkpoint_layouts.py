"""Key layouts of public face-recognition checkpoints, and which of our backbones each one is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchmark.interfaces import FaceVeilError
from benchmark.models import ghostfacenet
from benchmark.models.edgeface import VARIANTS, rank_of
from benchmark.protocol.track import InputSpec

State = Mapping[str, Tensor]
DEPTHS = {
    (2, 2, 2, 2): "18", (3, 4, 6, 3): "34", (3, 4, 14, 3): "50", (3, 13, 30, 3): "100", (3, 4, 23, 3): "101",
    (3, 8, 36, 3): "152", (3, 22, 33, 3): "185", (3, 24, 36, 3): "200", (6, 26, 60, 6): "200",
}  # fmt: skip
Depths = dict[tuple[int, ...], str]  # blocks of the stages -> name


def _depths(family: str, *left_out: tuple[int, ...]) -> Depths:
    return {blocks: f"{family}{depth}" for blocks, depth in DEPTHS.items() if blocks not in left_out}


IRESNETS = _depths("iresnet", (3, 22, 33, 3), (3, 24, 36, 3))
IRS = _depths("ir_", (3, 4, 23, 3), (3, 22, 33, 3), (3, 24, 36, 3), (6, 26, 60, 6))
IR_BOTTLENECKS: Depths = {(3, 8, 36, 3): "ir_152", (3, 24, 36, 3): "ir_200"}
IR_SES = _depths("ir_se_", (6, 26, 60, 6))
HEADS = {(9, 12): 8, (9, 24): 8, (8, 12): 8, (8, 24): 16}  # of published ViTs, by patch and blocks; no tensor tells
RATIOS = tuple(tenths / 20 for tenths in range(2, 20))  # of EdgeFace's ranks
STRIDE = 16  # image pixels to a pixel of the last map, in all layouts but Inception
BASE = 64  # channels of the first convolution at width 1


@dataclass(frozen=True)
class Architecture:
    """One of our backbones with its arguments, and what its layout's authors fed it."""

    name: str
    kwargs: dict[str, Any]
    input: InputSpec


def _renamed(name: str, patterns: tuple[tuple[str, str], ...]) -> str:
    for pattern, ours in patterns:
        name = re.sub(pattern, ours, name)
    return name


@dataclass(frozen=True)
class Layout:
    """A published naming of tensors.

    ``keys`` are names that all its checkpoints have, with their numbers of dimensions; ``read`` tells the architecture from the
    tensors and from the prefix that all their names had in the file.  ``renamed`` (patterns and what stands for them) turns
    the names of a project that has others than our backbone into those; ``read`` is given the latter.
    """

    name: str
    keys: Mapping[str, int]
    read: Callable[[State, str], Architecture]
    renamed: tuple[tuple[str, str], ...] = ()

    def named(self, state: State) -> dict[str, Tensor]:
        """Tensors under the names of our backbone."""
        return {_renamed(name, self.renamed): tensor for name, tensor in state.items()}

    @property
    def first(self) -> str:
        """The name by which the layout is looked for."""
        return next(iter(self.keys))

    def matches(self, names: Collection[str], prefix: str = "") -> bool:
        return all(prefix + key in names for key in self.keys)


def _kwargs(state: State, first: str, embedding: int, size: tuple[int, int]) -> dict[str, Any]:
    kwargs: dict[str, Any] = {"embedding_size": embedding, "input_size": list(size)}
    width = state[first].shape[0] / BASE
    return kwargs if width == 1 else {"width": width, **kwargs}


def _map_size(linear: Tensor, channels: int) -> tuple[int, int]:
    """Image size from the columns of the final linear layer: a square, or the 112 x 96 crop."""
    positions = linear.shape[1] // channels
    side = math.isqrt(positions)
    if side * side == positions:
        return side * STRIDE, side * STRIDE
    if positions == 42:
        return 112, 96
    raise FaceVeilError(
        f"the final linear layer spans {positions} positions, neither a square map nor that of a 112 x 96 image: "
        "this input size is not supported."
    )


def _named(known: Mapping[tuple[int, ...], str], counts: tuple[int, ...], layout: str) -> str:
    if counts not in known:
        allowed = ", ".join(f"{'-'.join(map(str, c))} ({name})" for c, name in known.items())
        raise FaceVeilError(
            f"a {layout} of {'-'.join(map(str, counts))} blocks a stage is not supported; supported: {allowed}."
        )
    return known[counts]


def _square(size: tuple[int, int]) -> InputSpec:
    return InputSpec(size=size)  # (x - 127.5) / 127.5


def _mobilefacenet(state: State, prefix: str) -> Architecture:
    height, width = state["linear7.conv.weight"].shape[-2:]
    size = (height * STRIDE, width * STRIDE)
    kwargs = _kwargs(state, "conv1.conv.weight", state["linear1.conv.weight"].shape[0], size)
    return Architecture("mobilefacenet", kwargs, InputSpec(size=size, std=(128 / 255,) * 3))  # (x - 127.5) / 128


def _iresnet(state: State, prefix: str) -> Architecture:
    counts = tuple(len({k.split(".")[1] for k in state if k.startswith(f"layer{stage}.")}) for stage in (1, 2, 3, 4))
    name = _named(IRESNETS, counts, "IResNet")
    linear = state["fc.weight"]
    size = _map_size(linear, state["bn2.weight"].shape[0])
    return Architecture(name, _kwargs(state, "conv1.weight", linear.shape[0], size), _square(size))


def _ir(state: State, prefix: str) -> Architecture:
    """InsightFace_Pytorch, face.evoLVe and TFace: BN, conv, PReLU, conv, BN, perhaps SE."""
    se = any(re.fullmatch(r"body\.\d+\.res_layer\.5\.fc1\.weight", key) for key in state)
    return _of_blocks(state, IR_SES if se else IRS, "IR-SE" if se else "IR", {}, "RGB")


def _adaface(state: State, prefix: str) -> Architecture:
    """AdaFace (``model.`` before all names, BGR) and CVLface (``net.``, RGB): BN, conv, BN, PReLU, conv, BN; the deepest
    ones have a convolution, a BatchNorm and a PReLU more.
    """
    extra = {"middle_norm": True}
    if "body.0.res_layer.8.weight" in state:
        extra["bottleneck"] = True
    if "output_layer.4.weight" not in state:
        extra["affine"] = False
    known = IR_BOTTLENECKS if "bottleneck" in extra else IRS
    return _of_blocks(state, known, "IR", extra, "RGB" if prefix.endswith("net.") else "BGR")


def _of_blocks(
    state: State, known: Mapping[tuple[int, ...], str], what: str, extra: dict[str, Any], order: Any
) -> Architecture:
    blocks = len({key.split(".")[1] for key in state if key.startswith("body.")})
    last = 8 if "bottleneck" in extra else 4 if "middle_norm" in extra else 3
    channels = [state[f"body.{n}.res_layer.{last}.weight"].shape[0] for n in range(blocks)]
    name = _named(known, tuple(channels.count(c) for c in sorted(set(channels))), what)
    linear = state["output_layer.3.weight"]
    size = _map_size(linear, state["output_layer.0.weight"].shape[0])
    kwargs = _kwargs(state, "input_layer.0.weight", linear.shape[0], size) | extra
    return Architecture(name, kwargs, InputSpec(size=size, order=order))


def _mobilefacenet_irse(state: State, prefix: str) -> Architecture:
    height, width = state["conv_6_dw.conv.weight"].shape[-2:]
    size = (height * STRIDE, width * STRIDE)
    kwargs = _kwargs(state, "conv1.conv.weight", state["linear.weight"].shape[0], size)
    return Architecture("mobilefacenet_irse", kwargs, _square(size))


def _mobilefacenet_arcface(state: State, prefix: str) -> Architecture:
    height, width = state["features.layers.0.layers.0.weight"].shape[-2:]
    last = state["conv_sep.layers.0.weight"].shape[0]
    hidden = state["layers.2.layers.0.layers.0.weight"].shape[0]
    counts = [len({key.split(".")[3] for key in state if key.startswith(f"layers.{n}.layers.")}) for n in (1, 3, 5, 7)]
    if "layers.1.layers.0.layers.0.layers.0.weight" not in state:
        counts[0] = 1
    size = (height * STRIDE, width * STRIDE)
    kwargs: dict[str, Any] = {
        "blocks": counts,
        "scale": state["layers.0.layers.0.weight"].shape[0] // max(hidden // 2, 1),
        "embedding_size": state["features.layers.2.weight"].shape[0],
        "input_size": list(size),
    }
    return Architecture("mobilefacenet_arcface", kwargs if last == 512 else kwargs | {"width": last / 512}, _square(size))


def _inception(state: State, prefix: str) -> Architecture:
    kwargs = {"embedding_size": state["last_linear.weight"].shape[0], "input_size": [160, 160]}
    return Architecture("inception_resnet_face", kwargs, InputSpec(size=(160, 160), std=(128 / 255,) * 3))


def _edgeface(state: State, prefix: str) -> Architecture:
    stem = state["model.stem.0.weight"].shape[0]
    if stem not in VARIANTS:
        raise FaceVeilError(f"an EdgeFace of {stem} channels is not supported; supported: {', '.join(map(str, VARIANTS))}.")
    kwargs: dict[str, Any] = {"variant": VARIANTS[stem]}
    low = {key.removesuffix(".linear1.weight") for key in state if key.endswith(".linear1.weight")}
    sides = [(*state[f"{n}.linear1.weight"].shape, state[f"{n}.linear2.weight"].shape[0]) for n in sorted(low)]
    if sides:
        fitting = [r for r in RATIOS if all(rank_of(inputs, outputs, r) == rank for rank, inputs, outputs in sides)]
        if not fitting:
            raise FaceVeilError("the ranks of its linear layers are not one share of their sizes.")
        kwargs["rank_ratio"] = fitting[0]
    embedding = state["model.head.fc.linear2.weight" if sides else "model.head.fc.weight"].shape[0]
    return Architecture("edgeface", kwargs | {"embedding_size": embedding, "input_size": [112, 112]}, _square((112, 112)))


def _face_vit(state: State, prefix: str) -> Architecture:
    """arcface_torch (patches of 9 pixels) and CVLface (of 8)."""
    channels, _, patch, _ = state["patch_embed.proj.weight"].shape
    depth = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
    if (patch, depth) not in HEADS:
        allowed = "; ".join(f"{blocks} blocks on patches of {pixels}" for pixels, blocks in HEADS)
        raise FaceVeilError(f"a ViT of {depth} blocks on patches of {patch} pixels is not supported; supported: {allowed}.")
    row = math.isqrt(state["pos_embed"].shape[1])
    side = 112 if 112 // patch == row else row * patch
    kwargs = {
        "patch": patch,
        "channels": channels,
        "depth": depth,
        "heads": HEADS[patch, depth],
        "ratio": state["blocks.0.mlp.fc1.weight"].shape[0] // channels,
        "masked": "mask_token" in state,
        "embedding_size": state["feature.2.weight"].shape[0],
        "input_size": [side, side],
    }
    return Architecture("face_vit", kwargs, _square((side, side)))


def _ghostfacenet(state: State, prefix: str) -> Architecture:
    """Ports to torch of GhostFaceNetV1 and, with attention, V2."""
    channels, _, rows, columns = state["classifier.conv_dw.weight"].shape
    width = round(channels / ghostfacenet.LAST, 2)
    stride = ghostfacenet.STRIDE
    size = (112, 112) if rows == columns == math.ceil(112 / stride) else (rows * stride, columns * stride)
    kwargs: dict[str, Any] = {
        "attention": "blocks.2.0.ghost1.short_conv.0.weight" in state,
        "embedding_size": state["classifier.conv.weight"].shape[0],
        "input_size": list(size),
    }
    return Architecture("ghostfacenet", kwargs if width == 1 else kwargs | {"width": width}, _square(size))


_IR_KEYS = {"input_layer.0.weight": 4, "output_layer.0.weight": 1, "output_layer.3.weight": 2}
LAYOUTS = (
    Layout(
        "MobileFaceNet (Xiaoccer)",
        {"conv1.conv.weight": 4, "blocks.0.conv.0.weight": 4, "linear7.conv.weight": 4, "linear1.conv.weight": 4},
        _mobilefacenet,
    ),
    Layout(
        "MobileFaceNet (InsightFace_Pytorch)",
        {"conv1.conv.weight": 4, "conv2_dw.conv.weight": 4, "conv_6_dw.conv.weight": 4, "linear.weight": 2},
        _mobilefacenet_irse,
    ),
    Layout(
        "MobileFaceNet (InsightFace arcface_torch)",
        {
            "conv_sep.layers.0.weight": 4,
            "layers.0.layers.0.weight": 4,
            "layers.2.layers.0.layers.0.weight": 4,
            "features.layers.0.layers.0.weight": 4,
            "features.layers.2.weight": 2,
        },
        _mobilefacenet_arcface,
    ),
    Layout(
        "IResNet (InsightFace arcface_torch)",
        {
            "conv1.weight": 4,
            "layer1.0.bn1.weight": 1,
            "layer4.0.conv2.weight": 4,
            "bn2.weight": 1,
            "fc.weight": 2,
            "features.bias": 1,
        },
        _iresnet,
    ),
    Layout(
        "IR (FRBench)",
        {"bn_o1.weight": 1, "input_layer.0.weight": 4, "layer1.0.bn1.weight": 1, "fc.weight": 2, "bn_o2.bias": 1},
        _iresnet,
        (
            (r"^input_layer\.0\.", "conv1."),
            (r"^input_layer\.1\.", "bn1."),
            (r"^input_layer\.2\.", "prelu."),
            (r"^bn_o1\.", "bn2."),
            (r"^bn_o2\.", "features."),
        ),
    ),
    Layout(
        "IR-SE (FRBench)",
        {"body.0.res_layer.5.fc1.weight": 4, "input_layer.0.weight": 4, "bn2.weight": 1, "fc.weight": 2, "features.bias": 1},
        _ir,
        ((r"^bn2\.", "output_layer.0."), (r"^fc\.", "output_layer.3."), (r"^features\.", "output_layer.4.")),
    ),
    Layout(
        "MobileFaceNet (FRBench)",
        {"conv_23.conv_expand.conv.weight": 4, "output_layer.conv_dw.conv.weight": 4, "output_layer.fc.weight": 2},
        _mobilefacenet_irse,
        (
            (r"^output_layer\.conv_dw\.", "conv_6_dw."),
            (r"^output_layer\.fc\.", "linear."),
            (r"^output_layer\.bn\.", "bn."),
            (r"\.conv_expand\.", ".conv."),
            (r"\.conv_project\.", ".project."),
            (r"\.layers\.", ".model."),
        ),
    ),
    Layout("IR (InsightFace_Pytorch, face.evoLVe)", {**_IR_KEYS, "body.0.res_layer.3.weight": 4}, _ir),
    Layout(
        "IR (AdaFace, CVLface)",
        {**_IR_KEYS, "body.0.res_layer.4.weight": 4, "body.0.res_layer.2.running_mean": 1},
        _adaface,
    ),
    Layout(
        "Inception-ResNet-v1 (facenet-pytorch)",
        {
            "conv2d_1a.conv.weight": 4,
            "repeat_1.0.branch0.conv.weight": 4,
            "mixed_7a.branch0.0.conv.weight": 4,
            "last_linear.weight": 2,
        },
        _inception,
    ),
    Layout(
        "EdgeFace",
        {"model.stem.0.weight": 4, "model.stages.0.blocks.0.conv_dw.weight": 4, "model.head.norm.weight": 1},
        _edgeface,
    ),
    Layout(
        "GhostFaceNet (ports to torch)",
        {
            "conv_stem.weight": 4,
            "blocks.0.0.ghost1.primary_conv.0.weight": 4,
            "blocks.9.0.conv.weight": 4,
            "classifier.conv_dw.weight": 4,
            "classifier.conv.weight": 4,
        },
        _ghostfacenet,
    ),
    Layout(
        "ViT (InsightFace arcface_torch, CVLface)",
        {
            "patch_embed.proj.weight": 4,
            "pos_embed": 3,
            "blocks.0.attn.qkv.weight": 2,
            "blocks.0.mlp.fc1.weight": 2,
            "norm.weight": 1,
            "feature.0.weight": 2,
            "feature.3.running_mean": 1,
        },
        _face_vit,
    ),
)
