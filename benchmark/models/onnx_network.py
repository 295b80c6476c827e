"""Reads an ONNX file as a network of real layers: no code runs, nothing outside its folder is opened.

The result is plain data, a list of steps for :class:`benchmark.models.graph_network.GraphNetwork` and named tensors, so that an
ONNX network is attacked, fine-tuned and packed as any other.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.models import onnx_shapes  # noqa: F401 - registers its operators
from benchmark.models.graph_network import IMAGE, GraphNetwork
from benchmark.models.onnx_lowering import MANY, Lowering, Ref, Value, run
from benchmark.models.onnx_operators import OPERATORS
from benchmark.models.onnx_wire import OnnxError, OnnxModel, OnnxNode, OnnxTensor, OnnxValue, read_wire, shown

MAX_BYTES = 2**30  # of a file, those that hold its tensors included
SIDE = 112  # where a file leaves the size of its images open
MAX_SIDE = 512
MIN_EMBEDDING = 8  # an output of fewer numbers is not taken for an embedding
SAME = 1e-4  # relative difference that floats may cause between a photo alone and one in a batch


@dataclass(frozen=True)
class OnnxNetwork:
    """An ONNX network as data.

    Attributes:
        steps: for :class:`GraphNetwork`.
        state: its tensors, float32.
        constants: the file's own named tensors, for layouts that are recognised by names.
        size: height and width of the images.
        scaled: how the graph itself normalises its input, ``(factor, offset)`` of x * factor + offset, or None.
        folded: how many convolutions carry a bias, as those do that took in a BatchNorm.
    """

    steps: list[list[Any]]
    state: dict[str, Tensor]
    constants: dict[str, Tensor]
    size: tuple[int, int]
    embedding_size: int
    batchnorms: int
    folded: int
    notes: tuple[str, ...]
    scaled: tuple[float, float] | None = None

    @property
    def kwargs(self) -> dict[str, Any]:
        """Arguments of the backbone ``graph``."""
        return {"graph": self.steps, "input_size": list(self.size)}

    def module(self) -> nn.Module:
        """The network, in evaluation mode."""
        network = GraphNetwork(self.steps, self.size)
        network.load_state_dict(self.state)
        return network.eval()


def read_onnx_file(path: Path, size: tuple[int, int] | None = None, output: str | None = None) -> OnnxNetwork:
    """The network in an ONNX file; tensors may lie in other files of the same folder.

    Args:
        size: height and width of its images, where the file leaves them open.
        output: name of the output that is the embedding, where several could be.

    Raises:
        OnnxError: what is wrong with the file, or which operator is not read.
    """
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise OnnxError(f"{path} has {path.stat().st_size} bytes (allowed: {MAX_BYTES}).")
    try:
        return read_onnx(path.read_bytes(), _Beside(path), size, output)
    except OnnxError as error:
        raise OnnxError(f"{path}: {error}") from None


class _Beside:
    """Bytes of tensors in other files of an ONNX file's own folder."""

    def __init__(self, path: Path) -> None:
        self.folder = path.resolve().parent
        self.left = MAX_BYTES

    def __call__(self, location: str, offset: int, length: int | None) -> bytes:
        path = self.folder / location
        plain = location and not Path(location).is_absolute() and ".." not in Path(location).parts and "\0" not in location
        if not plain or not path.resolve().is_relative_to(self.folder):
            raise OnnxError(f"tensors lie in {shown(location)}, outside the folder of the file: this is never opened.")
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        except OSError as error:
            reason = f"tensors lie in {shown(location)}, which cannot be opened ({error.strerror}): put it beside the file."
            raise OnnxError(reason) from None
        with os.fdopen(handle, "rb") as stream:
            found = os.fstat(handle)
            wanted = found.st_size - offset if length is None else length
            if not stat.S_ISREG(found.st_mode) or not 0 <= offset <= offset + wanted <= found.st_size:
                raise OnnxError(f"{shown(location)} has {found.st_size} bytes; {wanted} from {offset} on are wanted.")
            self.left -= wanted
            if self.left < 0:
                raise OnnxError(f"tensors of more than {MAX_BYTES} bytes.")
            stream.seek(offset)
            return stream.read(wanted)


def read_onnx(
    data: bytes,
    resolve: Any = None,
    size: tuple[int, int] | None = None,
    output: str | None = None,
    *,
    probe: bool = True,
) -> OnnxNetwork:
    """The network in the bytes of an ONNX file; see :func:`read_onnx_file`.

    Args:
        probe: run it once on noise; without, nothing of it is run.
    """
    model = read_wire(data, resolve)
    wanted = _embedding_candidates(model, output)
    order = _in_order(model, [value.name for value in wanted])
    _refuse_unknown(order)
    source = _image_input(model, {name for node in order for name in node.inputs})
    photos, shape = _shape_of(source, size)
    lowering = Lowering(model.opset, photos, 8 * (len(data) + _external_bytes(model)) + 2**22)
    values: dict[str, Value] = _Loading(lowering, model.tensors)
    values[source.name] = Ref(IMAGE, torch.empty(photos, *shape, device="meta"))
    last_three = shape[-1] == 3 and shape[0] != 3
    if last_three:  # height, width, channels
        image = Ref(IMAGE, torch.empty(photos, 3, *shape[:2], device="meta"))
        values[source.name] = lowering.emit("permute", [image], {"dims": [0, 2, 3, 1]}, hint="channels_last")
    run(lowering, OPERATORS, order, values)
    name, embedding = _embedding(lowering, {value.name: values[value.name] for value in wanted if value.name in values})
    notes = [f"output {shown(name)} taken as the embedding"] if len(model.outputs) > 1 else []
    steps = _guarded(_needed(lowering.steps, embedding.name))
    kept = {step[0] for step in steps}
    state = {key: value for key, value in lowering.state.items() if key.rpartition(".")[0] in kept}
    height_width = (shape[0], shape[1]) if last_three else (shape[1], shape[2])
    network = OnnxNetwork(
        steps=steps,
        state=state,
        constants={k: v for k, v in values.items() if isinstance(v, Tensor)},
        size=height_width,
        embedding_size=embedding.shape[1],
        batchnorms=sum(step[1] == "batchnorm" for step in steps),
        folded=_folded(steps),
        notes=tuple(notes),
        scaled=_scaling(steps, state),
    )
    _refuse_not_finite(network)
    if probe:
        _probe(network)
    return network


class _Loading(dict[str, Value]):
    """Values by name; the file's tensors are given memory when an operator first asks for them."""

    def __init__(self, lowering: Lowering, tensors: dict[str, OnnxTensor]) -> None:
        super().__init__()
        self._lowering, self._tensors = lowering, tensors

    def __missing__(self, name: str) -> Value:
        if name not in self._tensors:
            raise OnnxError(f"{shown(name)} is read but nothing gives it.")
        self[name] = self._lowering.load(self._tensors[name])
        return self[name]


def _external_bytes(model: OnnxModel) -> int:
    return 4 * sum(tensor.elements for tensor in model.tensors.values() if tensor.external)


def _image_input(model: OnnxModel, read: set[str]) -> OnnxValue:
    """The one input that operators read and that is not one of the file's own tensors (some files list those, too)."""
    inputs = [value for value in model.inputs if value.name in read and value.name not in model.tensors]
    if len(inputs) != 1:
        names = ", ".join(shown(value.name) for value in inputs[:5]) or "none"
        raise OnnxError(f"a backbone takes one image; this network's inputs are: {names}.")
    return inputs[0]


def _shape_of(source: OnnxValue, size: tuple[int, int] | None) -> tuple[int, list[int]]:
    """Photos of a batch, and the shape of one, while the graph is followed."""
    dims = source.dims if source.dims is not None else [None, 3, None, None]
    if len(dims) != 4:
        raise OnnxError(f"input {shown(source.name)} has shape {dims}; images have four dimensions.")
    height, width = size or (SIDE, SIDE)
    last = dims[3] == 3 and dims[1] != 3
    channels = dims[3] if last else dims[1]
    if channels not in (3, None):
        raise OnnxError(f"input {shown(source.name)} has {channels} channels; photos have 3.")
    found = [dims[1] or height, dims[2] or width, 3] if last else [3, dims[2] or height, dims[3] or width]
    sides = found[:2] if last else found[1:]
    if size is not None and tuple(sides) != tuple(size):
        raise OnnxError(f"it takes images of {sides[0]} x {sides[1]} (height x width), not {size[0]} x {size[1]}.")
    if not all(8 <= side <= MAX_SIDE for side in sides):
        raise OnnxError(f"it takes images of {sides[0]} x {sides[1]}; 8 to {MAX_SIDE} pixels a side are allowed.")
    if dims[0] is not None and dims[0] > 64:
        raise OnnxError(f"it takes exactly {dims[0]} photos at once: export it with a free batch dimension.")
    return dims[0] or MANY, found


def _embedding_candidates(model: OnnxModel, output: str | None) -> list[OnnxValue]:
    named = [value for value in model.outputs if output in (None, value.name)]
    if not named:
        names = ", ".join(shown(value.name) for value in model.outputs[:12]) or "none"
        raise OnnxError(f"no output {shown(output)}; it has: {names}.")
    return named[:64]


def _in_order(model: OnnxModel, wanted: Sequence[str]) -> list[OnnxNode]:
    """The operators that the outputs need, each after those that it reads.

    Raises:
        OnnxError: a name that two operators give, a circle, or one that nothing gives.
    """
    given: dict[str, OnnxNode] = {}
    for node in model.nodes:
        for name in node.outputs:
            if name and (name in given or name in model.tensors):
                raise OnnxError(f"{shown(name)} is given twice.")
            if name:
                given[name] = node
    order: list[OnnxNode] = []
    state: dict[int, int] = {}  # 1: being visited, 2: done
    stack = [given[name] for name in wanted if name in given]
    while stack:
        node = stack[-1]
        if state.get(id(node)) is None:
            state[id(node)] = 1
            before = [given[name] for name in node.inputs if name in given and state.get(id(given[name])) != 2]
            if any(state.get(id(other)) == 1 for other in before):
                raise OnnxError(f"operator {shown(node.op)} {shown(node.name)} reads what depends on it.")
            stack.extend(before)
            continue
        stack.pop()
        if state[id(node)] == 1:
            state[id(node)] = 2
            order.append(node)
    return order


def _refuse_unknown(nodes: Sequence[OnnxNode]) -> None:
    unknown: dict[str, int] = {}
    for node in nodes:
        name = node.op if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op}"
        if node.domain not in ("", "ai.onnx") or node.op not in OPERATORS:
            unknown[name] = unknown.get(name, 0) + 1
    if unknown:
        names = ", ".join(f"{shown(name)} ({count} times)" for name, count in sorted(unknown.items())[:8])
        hint = " Quantised activations pass no gradient: use the float network." if any("Q" in name for name in unknown) else ""
        raise OnnxError(f"operators that are not read here: {names}. Read are: {', '.join(sorted(OPERATORS))}.{hint}")


def _embedding(lowering: Lowering, outputs: dict[str, Value]) -> tuple[str, Ref]:
    """The output that is an embedding, as (photos, numbers)."""
    found = {}
    for name, value in outputs.items():
        if isinstance(value, Ref) and value.name != IMAGE and len(value.shape) > 1 and value.shape[0] == lowering.photos:
            width = value.meta[0].numel()
            if width >= MIN_EMBEDDING and width == max(value.shape[1:]):
                found[name] = value
    if len(found) != 1:
        shapes = ", ".join(f"{shown(name)} {list(value.shape)[1:]}" for name, value in list(outputs.items())[:8]) or "none"
        what = "none is" if not found else "more than one could be"
        raise OnnxError(f"of its outputs, {what} an embedding ({shapes}, without the batch): name one with --output.")
    name, value = next(iter(found.items()))
    if len(value.shape) == 2:
        return name, value
    flat = lowering.reshaped(value, [lowering.photos, value.meta[0].numel()], "embedding")
    assert isinstance(flat, Ref)
    return name, flat


def _needed(steps: Sequence[list[Any]], last: str) -> list[list[Any]]:
    """The steps that the last one needs, in order."""
    kept, wanted = [], {last}
    for step in reversed(steps):
        if step[0] in wanted:
            kept.append(step)
            wanted.update(step[2])
    return kept[::-1]


def _guarded(steps: Sequence[list[Any]]) -> list[list[Any]]:
    """A step that does nothing before each BatchNorm whose input is not just the layer before it.

    Who folds or exchanges a BatchNorm takes the layer before it for its only source; see ``normalisation.sources_of``.
    """
    readers: dict[str, int] = {}
    for step in steps:
        for name in step[2]:
            readers[name] = readers.get(name, 0) + 1
    names = {step[0] for step in steps}
    result: list[list[Any]] = []
    for step in steps:
        if step[1] == "batchnorm" and result and (result[-1][0] != step[2][0] or readers[step[2][0]] > 1):
            name = f"{step[0]}_input"
            while name in names:
                name += "_"
            names.add(name)
            result.append([name, "identity", step[2]])
            step = [step[0], step[1], [name], *step[3:]]
        result.append(step)
    return result


def _folded(steps: Sequence[list[Any]]) -> int:
    """Convolutions with a bias and no BatchNorm behind them: what an exporter leaves of a convolution and its BatchNorm."""
    normalised = {name for step in steps if step[1] == "batchnorm" for name in step[2]}
    return sum(step[1] == "conv" and bool(step[3].get("bias")) and step[0] not in normalised for step in steps)


def _scaling(steps: Sequence[list[Any]], state: dict[str, Tensor]) -> tuple[float, float] | None:
    """x * factor + offset, where the graph begins with arithmetic of single numbers."""
    factor, offset, name, found = 1.0, 0.0, IMAGE, False
    for step in steps:
        if step[1] != "apply" or not step[2] or step[2][0] != name or len(step[2]) != 2:
            if step[1] in ("constant", "permute", "identity"):
                name = step[0] if step[1] != "constant" and step[2][:1] == [name] else name
                continue
            break
        value = state.get(f"{step[2][1]}.value")
        if value is None or value.numel() != 1:
            break
        number = float(value)
        function = step[3]["function"]
        if function in ("mul", "div") and number:
            scale = number if function == "mul" else 1 / number
            factor, offset = factor * scale, offset * scale
        elif function in ("add", "sub"):
            offset += number if function == "add" else -number
        else:
            break
        name, found = step[0], True
    return (factor, offset) if found else None


def _refuse_not_finite(network: OnnxNetwork) -> None:
    broken = [name for name, tensor in network.state.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise OnnxError(f"{len(broken)} tensors hold NaN or infinity, such as {broken[0]}.")


def _probe(network: OnnxNetwork) -> None:
    """Runs the network once: a photo's embedding must not depend on its neighbours.

    Raises:
        OnnxError: it fails, or couples the photos of a batch.
    """
    images = torch.rand(2, 3, *network.size, generator=torch.Generator().manual_seed(0))
    module = network.module()
    try:
        with torch.inference_mode():
            both = module(images)
            alone = torch.cat([module(image[None]) for image in images])
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OnnxError(
            f"it does not run on two photos ({shown(reason, 160)}): export it with a free batch dimension."
        ) from None
    if both.shape != (2, network.embedding_size):
        raise OnnxError(f"two photos give {list(both.shape)}: export it with a free batch dimension.")
    if bool(torch.isfinite(both).all()) and float((both - alone).norm()) > SAME * float(alone.norm()) + 1e-6:
        raise OnnxError("a photo's embedding depends on the other photos of its batch: export it in evaluation mode.")
