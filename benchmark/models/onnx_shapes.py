"""ONNX operators that move numbers about, and those that only ever meet constants: shapes, indices, quantised weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from benchmark.models.onnx_lowering import MANY, Lowering, Ref, Value, constant, integers, name_of
from benchmark.models.onnx_operators import Inputs, _input, _ints, _need, _rank, operator
from benchmark.models.onnx_wire import OnnxError, OnnxNode, OnnxTensor

MAX_SIZE = 2**31


@operator("Constant")
def _constant(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    for name, value in node.attributes.items():
        if isinstance(value, OnnxTensor):
            return lowering.load(value)
        if name in ("value_float", "value_floats"):
            return torch.tensor(value, dtype=torch.float32)
        if name in ("value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.int64)
    raise OnnxError("a constant of a kind that is not read here.")


@operator("Flatten")
def _flatten(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    axis = int(node.attributes.get("axis", 1))
    axis += _rank(x) if axis < 0 else 0
    return lowering.reshaped(x, [math.prod(x.shape[:axis]), math.prod(x.shape[axis:])], name_of(node))


@operator("Reshape")
def _reshape(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    wanted = list(node.attributes["shape"]) if "shape" in node.attributes else integers(_input(inputs, 1), "the shape")
    if not node.attributes.get("allowzero"):
        wanted = [x.shape[place] if size == 0 else size for place, size in enumerate(wanted)]
    total, known = math.prod(x.shape), math.prod(size for size in wanted if size != -1)
    if wanted.count(-1) > 1 or any(size < -1 or size > MAX_SIZE for size in wanted):
        raise OnnxError(f"the shape is {wanted[:8]}.")
    if -1 in wanted:
        wanted[wanted.index(-1)] = total // known if known else 0
    if math.prod(wanted) != total:
        raise OnnxError(f"{list(x.shape)} cannot take the shape {wanted[:8]}.")
    return lowering.reshaped(x, wanted, name_of(node))


@operator("Expand")
def _expand(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    shape = list(torch.broadcast_shapes(tuple(x.shape), tuple(integers(_input(inputs, 1), "the shape"))))
    if list(x.shape) == shape:
        return x
    return lowering.reshaped(x, shape, name_of(node), expand=True)


@operator("ConstantOfShape")
def _filled(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    shape = integers(_input(inputs, 0), "the shape")
    value = node.attributes.get("value")
    single = lowering.load(value).reshape(-1)[:1] if isinstance(value, OnnxTensor) else torch.zeros(1)
    if any(not 0 <= size < MAX_SIZE for size in shape):
        raise OnnxError(f"the shape is {shape[:8]}.")
    return lowering.reshaped(single.reshape([1] * len(shape)), shape, name_of(node), expand=True)


@operator("Transpose")
def _transpose(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    dims = [int(d) for d in node.attributes.get("perm") or reversed(range(_rank(x)))]
    return lowering.emit("permute", [x], {"dims": dims}, hint=name_of(node))


@operator("Squeeze", "Unsqueeze")
def _squeeze(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    axes = _ints(node, inputs, "axes", 1)
    out = node.op == "Unsqueeze"
    if axes is None:
        first = 1 if isinstance(x, Ref) else 0
        axes = [place for place, size in enumerate(x.shape) if size == 1 and place >= first]
    rank = _rank(x) + (len(axes) if out else 0)
    dims = sorted(axis % max(rank, 1) for axis in axes)
    if not out and any(x.shape[dim] != 1 for dim in dims):
        raise OnnxError(f"dimensions {dims} of {list(x.shape)} are not all of size 1.")
    return lowering.emit("squeeze", [x], {"dims": dims, "out": True} if out else {"dims": dims}, hint=name_of(node))


@operator("Concat")
def _concat(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    values = [_need(inputs, place) for place in range(len(inputs))]
    axis = int(node.attributes.get("axis", 0)) % max(_rank(values[0]), 1)
    dynamic = any(isinstance(value, Ref) for value in values)
    if dynamic and axis and lowering.photos != MANY:  # a learned token, repeated for a batch of one
        values = [
            lowering.reshaped(lowering.held(v), [lowering.photos, *v.shape[1:]], name_of(node), expand=True)
            if isinstance(v, Tensor) and v.shape[0] == lowering.photos
            else v
            for v in values
        ]
    return lowering.emit("concat", values, {"dim": axis}, hint=name_of(node))


@operator("Split")
def _split(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> list[Value]:
    x = _need(inputs, 0)
    axis = int(node.attributes.get("axis", 0)) % _rank(x)
    sizes = _ints(node, inputs, "split", 1)
    if sizes is None:
        parts = int(node.attributes.get("num_outputs", len(node.outputs)))
        each = math.ceil(x.shape[axis] / max(parts, 1))
        sizes = [min(each, x.shape[axis] - each * k) for k in range(parts)]
    if sum(sizes) != x.shape[axis] or len(sizes) > 4096 or min(sizes, default=0) < 0:
        raise OnnxError(f"{x.shape[axis]} places cannot be split into {sizes[:8]}.")
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    return [_sliced(lowering, x, axis, start, size, 1, node) for start, size in zip(starts, sizes, strict=True)]


@operator("Slice")
def _slice(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    starts, ends = _ints(node, inputs, "starts", 1) or [], _ints(node, inputs, "ends", 2) or []
    axes = _ints(node, inputs, "axes", 3) or list(range(len(starts)))
    steps = _ints(node, inputs, "steps", 4) or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis %= _rank(x)
        size = x.shape[axis]
        if step == -1 and start in (-1, size - 1) and end < -size:
            x = lowering.emit("flip", [x], {"dim": axis}, hint=name_of(node))
            continue
        if step < 1:
            raise OnnxError(f"a step of {step}, which is not read here.")
        places = range(*slice(start, end, step).indices(size))
        x = _sliced(lowering, x, axis, places.start, len(places), step, node)
    return x


def _sliced(lowering: Lowering, x: Value, axis: int, start: int, length: int, step: int, node: OnnxNode) -> Value:
    if (start, length, step) == (0, x.shape[axis], 1):
        return x
    if lowering.holds_photos(x, axis):
        raise OnnxError("takes some photos of a batch.")
    if not length:
        raise OnnxError("takes nothing.")
    arguments: dict[str, Any] = {"dim": axis, "start": start, "length": length}
    if step != 1:
        arguments["step"] = step
    return lowering.emit("slice", [x], arguments, hint=name_of(node))


@operator("Gather")
def _gather(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x, index = _need(inputs, 0), constant(_input(inputs, 1), "the index").long()
    axis = int(node.attributes.get("axis", 0)) % max(_rank(x), 1)
    size = x.shape[axis]
    if bool(((index < -size) | (index >= size)).any()):
        raise OnnxError(f"an index that is not among {size} places.")
    index = torch.where(index < 0, index + size, index)
    if isinstance(x, Tensor):
        shape = [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]]
        lowering.spend(math.prod(shape))
        return x.index_select(axis, index.reshape(-1)).reshape(shape)
    if lowering.holds_photos(x, axis):
        raise OnnxError("takes some photos of a batch.")
    if index.numel() == 1 and index.dim() == 0:
        return lowering.emit("slice", [x], {"dim": axis, "start": int(index), "one": True}, hint=name_of(node))
    if index.dim() == 1:
        places = index.tolist()
        if places == list(reversed(range(size))):
            return lowering.emit("flip", [x], {"dim": axis}, hint=name_of(node))
        if len(places) <= 16:
            parts: list[Value] = [_sliced(lowering, x, axis, place, 1, 1, node) for place in places]
            return parts[0] if len(parts) == 1 else lowering.emit("concat", parts, {"dim": axis}, hint=name_of(node))
    raise OnnxError("picks many places of what was computed from the image, which is not read here.")


@operator("Pad")
def _pad(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    mode = node.attributes.get("mode", "constant") or "constant"
    if mode not in ("constant", "reflect", "edge") or _input(inputs, 3) is not None:
        raise OnnxError(f"padding of mode {ascii(mode)[:40]}, which is not read here.")
    pads = _ints(node, inputs, "pads", 1) or []
    rank = _rank(x)
    if len(pads) != 2 * rank or not all(-4096 < p < 4096 for p in pads):
        raise OnnxError(f"pads is {pads[:16]}.")
    value = node.attributes.get("value", 0.0) if "value" in node.attributes else 0.0
    given = _input(inputs, 2)
    if given is not None and constant(given, "the value").numel():
        value = float(constant(given, "the value").reshape(-1)[0])
    first = next((d for d in range(rank) if pads[d] or pads[d + rank]), rank)
    if first == rank:
        return x
    if any(lowering.holds_photos(x, d) for d in range(rank) if pads[d] or pads[d + rank]):
        raise OnnxError("adds photos to a batch.")
    flat = [pads[d + rank * side] for d in reversed(range(first, rank)) for side in (0, 1)]
    arguments = {"pads": flat, "mode": "replicate" if mode == "edge" else mode, "value": float(value)}
    return lowering.emit("pad", [x], arguments, hint=name_of(node))


@operator("Resize", "Upsample")
def _resize(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    x = _need(inputs, 0)
    if _rank(x) != 4:
        raise OnnxError(f"resizing of {list(x.shape)}; only two-dimensional maps are resized.")
    mode = node.attributes.get("mode", "nearest")
    where = node.attributes.get("coordinate_transformation_mode", "half_pixel" if node.op == "Resize" else "asymmetric")
    sizes, scales = _input(inputs, 3), _input(inputs, 2 if node.op == "Resize" and lowering.opset > 10 else 1)
    if sizes is not None:
        target = integers(sizes, "sizes")[2:]
    else:
        factors = constant(scales, "scales").tolist() if scales is not None else list(node.attributes.get("scales") or [])
        target = [math.floor(size * factor) for size, factor in zip(x.shape[2:], factors[2:], strict=True)]
    whole = all(t % s == 0 for t, s in zip(target, x.shape[2:], strict=True))
    nearest = mode == "nearest" and whole
    linear = mode == "linear" and where in ("half_pixel", "pytorch_half_pixel")
    if len(target) != 2 or not (nearest or linear):
        raise OnnxError(f"resizing of mode {ascii(mode)[:20]} ({ascii(where)[:40]}) to {target[:4]}, which is not read here.")
    return lowering.emit("resize", [x], {"size": target, "mode": "nearest" if nearest else "bilinear"}, hint=name_of(node))


# What only ever meets constants


@operator("Shape", "Size")
def _shape(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    shape = list(_need(inputs, 0).shape)
    if node.op == "Size":
        return torch.tensor(math.prod(shape))
    end = node.attributes.get("end")
    return torch.tensor(
        shape[slice(int(node.attributes.get("start", 0)), None if end is None else int(end))], dtype=torch.int64
    )


@operator("Range")
def _range(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    start, end, step = (constant(_input(inputs, k), "its bound").reshape(-1)[0] for k in range(3))
    count = max(0, math.ceil(float(end - start) / float(step))) if float(step) else MAX_SIZE
    lowering.spend(count)
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


@operator("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or")
def _compare(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    left, right = (constant(_input(inputs, place), "what is compared") for place in (0, 1))
    lowering.spend(math.prod(torch.broadcast_shapes(left.shape, right.shape)))
    functions = {"Equal": torch.eq, "Greater": torch.gt, "Less": torch.lt, "GreaterOrEqual": torch.ge, "LessOrEqual": torch.le}
    return (functions | {"And": torch.logical_and, "Or": torch.logical_or})[node.op](left, right)


@operator("Not", "Floor", "Ceil", "Round")
def _whole(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    value = constant(_input(inputs, 0), "what is rounded")
    functions = {"Not": torch.logical_not, "Floor": torch.floor, "Ceil": torch.ceil, "Round": torch.round}
    return functions[node.op](value)


@operator("Where")
def _where(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    condition = constant(_input(inputs, 0), "the condition").bool()
    yes, no = _need(inputs, 1), _need(inputs, 2)
    if isinstance(yes, Tensor) and isinstance(no, Tensor):
        lowering.spend(math.prod(torch.broadcast_shapes(condition.shape, yes.shape, no.shape)))
        return torch.where(condition, yes, no)
    if bool(condition.all()) or not bool(condition.any()):
        return yes if bool(condition.all()) else no
    raise OnnxError("chooses among what was computed from the image, which is not read here.")


@operator("DequantizeLinear")
def _dequantize(lowering: Lowering, node: OnnxNode, inputs: Inputs) -> Value:
    """(x - zero point) * scale: one scale in all, one a place of ``axis``, or one a block of ``block_size`` places of it."""
    quantised = _need(inputs, 0)
    if not isinstance(quantised, Tensor):
        raise OnnxError("activations are rounded, so that no gradient passes: use the network before it was quantised.")
    scale = constant(_input(inputs, 1), "the scale").float()
    zero = _input(inputs, 2)
    zero_point = torch.zeros(()) if zero is None else constant(zero, "the zero point").float()
    lowering.spend(quantised.numel())
    return (quantised.float() - _spread(zero_point, quantised, node)) * _spread(scale, quantised, node)


def _spread(scale: Tensor, values: Tensor, node: OnnxNode) -> Tensor:
    """Scales in the shape of what they scale."""
    if scale.numel() == 1:
        return scale.reshape(())
    axis = int(node.attributes.get("axis", 1))
    if not -values.dim() <= axis < values.dim():
        raise OnnxError(f"axis {axis} of a tensor of shape {list(values.shape)}.")
    axis %= values.dim()
    size, block = values.shape[axis], int(node.attributes.get("block_size", 0))
    if block > 0 and scale.dim() == values.dim():
        if scale.shape[axis] != math.ceil(size / block):
            raise OnnxError(f"{scale.shape[axis]} scales for {size} places in blocks of {block}.")
        # one after the other, so that a large block does not unfold to more than is kept
        places = torch.arange(size) // block
        return scale.index_select(axis, places)
    if scale.dim() == 1 and len(scale) == size:
        return scale.reshape([size if d == axis else 1 for d in range(values.dim())])
    raise OnnxError(f"scales of shape {list(scale.shape)} for a tensor of shape {list(values.shape)}.")
