"""The ONNX operators of face-recognition backbones, each as steps of a graph network.

Semantics are those of https://onnx.ai/onnx/operators/, old operator sets included, where axes and bounds were attributes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.models.graph_layers import BINARY, UNARY
from benchmark.models.onnx_lowering import Lowering, Operator, Ref, Value, constant, integers, name_of
from benchmark.models.onnx_wire import OnnxError, OnnxNode

OPERATORS: dict[str, Operator] = {}
Inputs = list[Value | None]


def operator(*names: str) -> Callable[[Operator], Operator]:
    """Registers a reader under the names of its operators."""

    def register(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def _input(inputs: Inputs, place: int) -> Value | None:
    return inputs[place] if place < len(inputs) else None


def _need(inputs: Inputs, place: int) -> Value:
    value = _input(inputs, place)
    if value is None:
        raise OnnxError(f"input {place} is missing.")
    return value


def _ints(node: OnnxNode, inputs: Inputs, name: str, place: int) -> list[int] | None:
    """Whole numbers that older operator sets give as an attribute and newer ones as an input."""
    if name in node.attributes:
        value = node.attributes[name]
        return list(value) if isinstance(value, list) else [int(value)]
    value = _input(inputs, place)
    return None if value is None else integers(value, name)


def _number(node: OnnxNode, inputs: Inputs, name: str, place: int) -> float | None:
    if name in node.attributes:
        return float(node.attributes[name])
    value = _input(inputs, place)
    if value is None:
        return None
    number = float(constant(value, name).reshape(-1)[0])
    return None if abs(number) > 1e38 else number


def _rank(value: Value) -> int:
    return len(value.shape)


def _weight(node: OnnxNode, place: int = 1) -> str:
    return node.inputs[place] if place < len(node.inputs) else ""


# Layers with weights


@operator("Conv")
def _conv(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x, weight = _need(inputs, 0), constant(_input(inputs, 1), "the weight")
    if weight.dim() != 4 or _rank(x) != 4:
        raise OnnxError(f"a convolution of {list(x.shape)} by {list(weight.shape)}; only two-dimensional ones are read.")
    hint = name_of(node, _weight(node))
    kernel = list(weight.shape[2:])
    stride, dilation = _pair(node, "strides"), _pair(node, "dilations")
    pads = _pads(node, x, kernel, stride, dilation)
    x, padding = _padded(lowering, x, pads, hint)
    groups = int(node.attributes.get("group", 1))
    bias = _input(inputs, 2)
    arguments: dict[str, Any] = {"inputs": weight.shape[1] * groups, "outputs": weight.shape[0], "kernel": kernel}
    arguments |= {
        k: v for k, v, d in (("stride", stride, 1), ("dilation", dilation, 1), ("padding", padding, 0)) if v != [d, d]
    }
    if groups != 1:
        arguments["groups"] = groups
    parameters = {"weight": weight}
    if bias is not None and bool(constant(bias, "the bias").any()):
        arguments["bias"], parameters["bias"] = True, constant(bias, "the bias").reshape(-1)
    return lowering.emit("conv", [x], arguments, parameters, hint)


def _pair(node: OnnxNode, name: str) -> list[int]:
    values = [int(v) for v in node.attributes.get(name) or (1, 1)]
    if len(values) != 2 or not all(0 < v < 4096 for v in values):
        raise OnnxError(f"{name} is {values[:8]}.")
    return values


def _pads(node: OnnxNode, x: Value, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Padding above, left, below, right."""
    auto = node.attributes.get("auto_pad", "NOTSET") or "NOTSET"
    if auto in ("NOTSET", "VALID"):
        pads = [int(v) for v in node.attributes.get("pads") or (0, 0, 0, 0)] if auto == "NOTSET" else [0, 0, 0, 0]
        if len(pads) != 4 or not all(0 <= v < 4096 for v in pads):
            raise OnnxError(f"pads is {pads[:8]}.")
        return pads
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise OnnxError(f"auto_pad is {ascii(auto)[:40]}.")
    before, after = [], []
    for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
        total = max(0, (math.ceil(size / s) - 1) * s + (k - 1) * d + 1 - size)
        less, more = total // 2, total - total // 2
        before.append(less if auto == "SAME_UPPER" else more)
        after.append(more if auto == "SAME_UPPER" else less)
    return before + after


def _padded(lowering: Lowering, x: Value, pads: list[int], hint: str, value: float = 0.0) -> tuple[Value, list[int]]:
    """``x`` and the padding that its layer can do itself; what is not symmetric becomes a step before it."""
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return x, [top, left]
    arguments: dict[str, Any] = {"pads": [left, right, top, bottom]}
    if value:
        arguments["value"] = value
    return lowering.emit("pad", [x], arguments, hint=f"{hint}_pad"), [0, 0]


@operator("BatchNormalization")
def _batchnorm(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    scale, shift, mean, var = (
        constant(_input(inputs, k), n).reshape(-1) for k, n in enumerate(("scale", "B", "mean", "var"), 1)
    )
    rank = _rank(x)
    if rank not in (2, 3, 4) or not len(scale) == len(shift) == len(mean) == len(var):
        raise OnnxError(f"BatchNorm of {list(x.shape)} with {len(scale)}, {len(shift)}, {len(mean)} and {len(var)} numbers.")
    arguments: dict[str, Any] = {"channels": len(scale)}
    if rank != 4:
        arguments["rank"] = rank
    eps = float(node.attributes.get("epsilon", 1e-5))
    if abs(eps - 1e-5) > 1e-11:
        arguments["eps"] = eps
    parameters = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": var}
    return lowering.emit("batchnorm", [x], arguments, parameters, name_of(node, _weight(node)))


@operator("PRelu")
def _prelu(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x, slope = _need(inputs, 0), constant(_input(inputs, 1), "the slope")
    channels = slope.numel()
    whole = channels == 1 or (_rank(x) > 1 and channels == x.shape[1] and slope.shape[:1] == (channels,))
    whole = whole or (_rank(x) > 1 and slope.dim() == _rank(x) and channels == slope.shape[1] == x.shape[1])
    hint = name_of(node, _weight(node))
    if whole:
        return lowering.emit("prelu", [x], {"num_parameters": channels}, {"weight": slope.reshape(-1)}, hint)
    above = lowering.emit("relu", [x], hint=f"{hint}_above")
    below = lowering.emit("apply", [x, torch.zeros(1)], {"function": "minimum"}, hint=f"{hint}_below")
    scaled = lowering.emit("apply", [below, slope], {"function": "mul"}, hint=f"{hint}_slope")
    return lowering.emit("apply", [above, scaled], {"function": "add"}, hint=hint)


@operator("Gemm")
def _gemm(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x, weight = _need(inputs, 0), constant(_input(inputs, 1), "the weight")
    if node.attributes.get("transA") or weight.dim() != 2:
        raise OnnxError("a transposed input or a weight that is no matrix, which is not read here.")
    weight = (weight if node.attributes.get("transB") else weight.T) * float(node.attributes.get("alpha", 1.0))
    parameters = {"weight": weight}
    bias = _input(inputs, 2)
    if bias is not None:
        vector = constant(bias, "the bias").reshape(-1) * float(node.attributes.get("beta", 1.0))
        parameters["bias"] = vector.expand(len(weight)) if len(vector) == 1 else vector
    arguments = {"inputs": weight.shape[1], "outputs": weight.shape[0], "bias": bias is not None}
    return lowering.emit("linear", [x], arguments, parameters, name_of(node, _weight(node)))


@operator("MatMul")
def _matmul(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x, weight = _need(inputs, 0), _need(inputs, 1)
    hint = name_of(node, _weight(node))
    if isinstance(x, Ref) and isinstance(weight, Tensor) and weight.dim() == 2:
        arguments = {"inputs": weight.shape[0], "outputs": weight.shape[1], "bias": False}
        return lowering.emit("linear", [x], arguments, {"weight": weight.T}, hint)
    return lowering.emit("apply", [x, weight], {"function": "matmul"}, hint=hint)


@operator("InstanceNormalization", "GroupNormalization")
def _groupnorm(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x, scale, shift = _need(inputs, 0), constant(_input(inputs, 1), "scale"), constant(_input(inputs, 2), "B")
    channels = x.shape[1]
    groups = int(node.attributes.get("num_groups", channels))
    if len(scale) == groups != channels:  # before opset 21, one number a group
        scale, shift = scale.repeat_interleave(channels // groups), shift.repeat_interleave(channels // groups)
    arguments = {"groups": groups, "channels": channels, "eps": float(node.attributes.get("epsilon", 1e-5))}
    return lowering.emit("groupnorm", [x], arguments, {"weight": scale, "bias": shift}, name_of(node, _weight(node)))


@operator("LayerNormalization")
def _layernorm(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x, scale = _need(inputs, 0), constant(_input(inputs, 1), "scale")
    axis = int(node.attributes.get("axis", -1)) % _rank(x)
    shape = list(x.shape[axis:])
    shift = _input(inputs, 2)
    parameters = {"weight": scale.expand(shape)}
    parameters["bias"] = torch.zeros(shape) if shift is None else constant(shift, "bias").expand(shape)
    arguments = {"shape": shape, "eps": float(node.attributes.get("epsilon", 1e-5))}
    return lowering.emit("layernorm", [x], arguments, parameters, name_of(node, _weight(node)))


# Pointwise functions

_ACTIVATIONS = {"Relu": "relu"}
_UNARY = {
    "Abs": "abs", "Erf": "erf", "Exp": "exp", "HardSwish": "hardswish", "Log": "log", "Mish": "mish", "Neg": "neg",
    "Reciprocal": "reciprocal", "Sigmoid": "sigmoid", "Softplus": "softplus",
    "Softsign": "softsign", "Sqrt": "sqrt", "Tanh": "tanh",
}  # fmt: skip
_BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow"}
assert set(_UNARY.values()) <= set(UNARY)
assert set(_BINARY.values()) <= set(BINARY)


@operator("Relu")
def _relu(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    return lowering.emit("relu", [_need(inputs, 0)], hint=name_of(node))


@operator(*_UNARY)
def _unary(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    return lowering.emit("apply", [_need(inputs, 0)], {"function": _UNARY[node.op]}, hint=name_of(node))


@operator(*_BINARY)
def _binary(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    both: list[Value] = [_need(inputs, 0), _need(inputs, 1)]
    return lowering.emit("apply", both, {"function": _BINARY[node.op]}, hint=name_of(node))


@operator("Max", "Min", "Sum", "Mean")
def _variadic(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    function = {"Max": "maximum", "Min": "minimum"}.get(node.op, "add")
    total = _need(inputs, 0)
    for place in range(1, len(inputs)):
        total = lowering.emit("apply", [total, _need(inputs, place)], {"function": function}, hint=name_of(node))
    if node.op == "Mean" and len(inputs) > 1:
        return lowering.emit("apply", [total, torch.tensor(1 / len(inputs))], {"function": "mul"}, hint=name_of(node))
    return total


@operator("Clip")
def _clip(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    arguments = {"low": _number(node, inputs, "min", 1), "high": _number(node, inputs, "max", 2)}
    return lowering.emit("clip", [_need(inputs, 0)], arguments, hint=name_of(node))


@operator("HardSigmoid")
def _hardsigmoid(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    scale, shift = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
    arguments = {"low": 0.0, "high": 1.0, "scale": scale, "shift": shift}
    return lowering.emit("clip", [_need(inputs, 0)], arguments, hint=name_of(node))


@operator("LeakyRelu", "Elu")
def _sloped(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    name, argument, default = ("leaky_relu", "negative_slope", 0.01) if node.op == "LeakyRelu" else ("elu", "alpha", 1.0)
    alpha = float(node.attributes.get("alpha", default))
    return lowering.emit(name, [_need(inputs, 0)], {argument: alpha}, hint=name_of(node))


@operator("Gelu")
def _gelu(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    arguments = {"approximate": node.attributes.get("approximate", "none")}
    return lowering.emit("gelu", [_need(inputs, 0)], arguments, hint=name_of(node))


@operator("Softmax")
def _softmax(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    axis = int(node.attributes.get("axis", 1 if lowering.opset < 13 else -1)) % _rank(x)
    if lowering.opset < 13 and axis != _rank(x) - 1:
        raise OnnxError("softmax over several dimensions at once (operator set below 13), which is not read here.")
    return lowering.emit("softmax", [x], {"dim": axis}, hint=name_of(node))


@operator("Identity", "Dropout", "Cast", "CastLike")
def _same(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    if node.op == "Cast" and isinstance(x, Tensor):
        to = node.attributes.get("to")
        if to in (1, 10, 11, 16):
            return x.float()
        if to in (6, 7, 9):
            return x.to({6: torch.int32, 7: torch.int64, 9: torch.bool}[to])
        raise OnnxError(f"a constant of type {to}, which is not read here.")
    if node.op == "Cast" and node.attributes.get("to") not in (1, 10, 11, 16):
        raise OnnxError("turns what was computed from the image into whole numbers: no gradient would pass.")
    return x


# Pooling and reductions


@operator("MaxPool", "AveragePool")
def _pool(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    if _rank(x) != 4 or len(node.attributes.get("kernel_shape") or ()) != 2:
        raise OnnxError(f"pooling of {list(x.shape)}; only two-dimensional pooling is read.")
    hint, kernel = name_of(node), _pair(node, "kernel_shape")
    stride, dilation = _pair(node, "strides"), _pair(node, "dilations")
    largest = node.op == "MaxPool"
    pads = _pads(node, x, kernel, stride, dilation)
    counted = bool(node.attributes.get("count_include_pad", 0))
    if not largest and not counted and pads[:2] != pads[2:]:
        raise OnnxError("uneven padding that is not counted, which is not read here.")
    x, padding = _padded(lowering, x, pads, hint, -1e30 if largest else 0.0)
    arguments: dict[str, Any] = {"kernel": kernel, "stride": stride, "ceil_mode": bool(node.attributes.get("ceil_mode", 0))}
    if padding != [0, 0]:
        arguments["padding"] = padding
    if largest:
        arguments["dilation"] = dilation
    else:
        arguments["count_include_pad"] = counted
    return lowering.emit("max_pool" if largest else "avg_pool", [x], arguments, hint=hint)


@operator("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    arguments = {"function": "mean" if node.op == "GlobalAveragePool" else "max", "dims": list(range(2, _rank(x)))}
    return lowering.emit("reduce", [x], arguments, hint=name_of(node))


@operator("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceL1")
def _reduce(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    axes = _ints(node, inputs, "axes", 1)
    if not axes:
        if node.attributes.get("noop_with_empty_axes"):
            return x
        axes = list(range(_rank(x)))
    dims = sorted(axis % _rank(x) for axis in axes)
    if any(lowering.holds_photos(x, dim) for dim in dims):
        raise OnnxError("reduces over the photos of a batch.")
    if isinstance(x, Tensor) and not x.is_floating_point():
        x = x.float()
    arguments = {
        "function": node.op.removeprefix("Reduce").lower(),
        "dims": dims,
        "keep": bool(node.attributes.get("keepdims", 1)),
    }
    return lowering.emit("reduce", [x], arguments, hint=name_of(node))


@operator("LpNormalization")
def _normalize(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    arguments = {"dim": int(node.attributes.get("axis", -1)) % _rank(x), "p": float(node.attributes.get("p", 2))}
    return lowering.emit("normalize", [x], arguments, hint=name_of(node))
