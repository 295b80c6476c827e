"""Key layouts of public face-recognition checkpoints, and which of our backbones each one is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import InputSpec

State = Mapping[str, Tensor]
IRESNETS = {(2, 2, 2, 2): "iresnet18", (3, 4, 6, 3): "iresnet34", (3, 4, 14, 3): "iresnet50", (3, 13, 30, 3): "iresnet100"}
IR_SES = {(3, 4, 14, 3): "ir_se_50"}
STRIDE = 16  # image pixels to a pixel of the last map, in all three layouts
BASE = 64  # channels of the first convolution at width 1


@dataclass(frozen=True)
class Architecture:
    """One of our backbones with its arguments, and what its layout's authors fed it."""

    name: str
    kwargs: dict[str, Any]
    input: InputSpec


@dataclass(frozen=True)
class Layout:
    """A published naming of tensors: ``keys`` that all its checkpoints have, and how to read the architecture off them."""

    name: str
    keys: tuple[str, ...]
    read: Callable[[State], Architecture]

    def matches(self, state: Collection[str]) -> bool:
        return all(key in state for key in self.keys)


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


def _mobilefacenet(state: State) -> Architecture:
    height, width = state["linear7.conv.weight"].shape[-2:]
    size = (height * STRIDE, width * STRIDE)
    kwargs = _kwargs(state, "conv1.conv.weight", state["linear1.conv.weight"].shape[0], size)
    return Architecture("mobilefacenet", kwargs, InputSpec(size=size, std=(128 / 255,) * 3))  # (x - 127.5) / 128


def _iresnet(state: State) -> Architecture:
    counts = tuple(len({k.split(".")[1] for k in state if k.startswith(f"layer{stage}.")}) for stage in (1, 2, 3, 4))
    name = _named(IRESNETS, counts, "IResNet")
    linear = state["fc.weight"]
    size = _map_size(linear, state["bn2.weight"].shape[0])
    return Architecture(name, _kwargs(state, "conv1.weight", linear.shape[0], size), InputSpec(size=size))


def _ir_se(state: State) -> Architecture:
    if not any(re.fullmatch(r"body\.\d+\.res_layer\.5\.fc1\.weight", key) for key in state):
        raise FaceVeilError("an IR network without squeeze-and-excitation is not supported; of this layout only IR-SE-50 is.")
    blocks = len({key.split(".")[1] for key in state if key.startswith("body.")})
    channels = [state[f"body.{n}.res_layer.3.weight"].shape[0] for n in range(blocks)]
    counts = tuple(channels.count(c) for c in sorted(set(channels)))
    name = _named(IR_SES, counts, "IR-SE")
    linear = state["output_layer.3.weight"]
    size = _map_size(linear, state["output_layer.0.weight"].shape[0])
    return Architecture(name, _kwargs(state, "input_layer.0.weight", linear.shape[0], size), InputSpec(size=size))


LAYOUTS = (
    Layout(
        "MobileFaceNet (Xiaoccer)",
        ("conv1.conv.weight", "blocks.0.conv.0.weight", "linear7.conv.weight", "linear1.conv.weight"),
        _mobilefacenet,
    ),
    Layout(
        "IResNet (InsightFace arcface_torch)",
        ("conv1.weight", "layer1.0.bn1.weight", "layer4.0.conv2.weight", "bn2.weight", "fc.weight", "features.running_mean"),
        _iresnet,
    ),
    Layout(
        "IR-SE (InsightFace_Pytorch)",
        ("input_layer.0.weight", "body.0.res_layer.3.weight", "output_layer.0.weight", "output_layer.3.weight"),
        _ir_se,
    ),
)
