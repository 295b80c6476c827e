"""From ONNX operators to the steps of a graph network: constants folded, shapes followed on the meta device."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.interfaces import FaceVeilError
from benchmark.models.graph_layers import Apply, Reshape
from benchmark.models.graph_network import IMAGE, layer_of
from benchmark.models.onnx_wire import OnnxError, OnnxNode, OnnxTensor, shown

MAX_CONSTANTS = 2**29  # numbers in all constants together
MAX_ACTIVATION = 2**26  # numbers that one step may give for one photo
MAX_ACTIVATIONS = 2**29  # and all steps together
MAX_WORK = 1e11  # multiplications for one photo; ViT-L/14 at 224 pixels takes 8e10
MANY = 1009  # photos while a graph with a free batch dimension is followed: a prime, so that its multiples can be told apart


@dataclass(frozen=True)
class Ref:
    """What a step gives, when the graph is followed without numbers."""

    name: str
    meta: Tensor

    @property
    def shape(self) -> torch.Size:
        return self.meta.shape


Value = Tensor | Ref
# What attributes and shapes that nobody foresaw end in
_MALFORMED = (FaceVeilError, RuntimeError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)
Operator = Callable[["Lowering", OnnxNode, "list[Value | None]"], "Value | list[Value]"]


class Lowering:
    """Steps, and their tensors, as they are gathered while the operators are read in order.

    Args:
        photos: size of the batch dimension that the graph is followed with.
        budget: numbers that all constants together may take.
    """

    def __init__(self, opset: int, photos: int, budget: int) -> None:
        self.opset = opset
        self.photos = photos
        self.left = min(budget, MAX_CONSTANTS)
        self.steps: list[list[Any]] = []
        self.state: dict[str, Tensor] = {}
        self.operators: dict[str, int] = {}
        self._names = {IMAGE}
        self._work = self._activations = 0.0
        self._held: dict[int, tuple[Tensor, Ref]] = {}  # constants that are steps already

    def load(self, tensor: OnnxTensor) -> Tensor:
        """A tensor of the file as a constant; floats of any width as float32."""
        self.spend(tensor.elements)
        read = tensor.tensor()
        return read.float() if read.is_floating_point() else read

    def spend(self, elements: int) -> None:
        """Counts numbers that are about to be given memory."""
        self.left -= elements
        if self.left < 0:
            raise OnnxError("its constants unfold to far more numbers than the file holds.")

    def emit(
        self,
        operator: str,
        inputs: Sequence[Value],
        arguments: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        hint: str = "",
        *,
        step: bool = False,
    ) -> Value:
        """One more step; of constants alone its result at once, unless it must be a ``step``."""
        arguments = dict(arguments or {})
        with torch.device("meta"):
            layer = layer_of(operator, arguments, hint or operator).eval()
        for module in (layer,) if isinstance(layer, Reshape) else ():
            module.photos = self.photos
        meta = self._followed(layer, [value.to("meta") if isinstance(value, Tensor) else value.meta for value in inputs], hint)
        if not step and all(isinstance(value, Tensor) for value in inputs):
            self.spend(meta.numel())
            folded = layer_of(operator, arguments).eval()
            folded.load_state_dict(dict(parameters or {}), strict=False)
            with torch.no_grad():
                result: Value = folded(*inputs)
                return result
        refs = [value if isinstance(value, Ref) else self.held(value) for value in inputs]
        return self._append(operator, [ref.name for ref in refs], arguments, layer, parameters or {}, meta, hint)

    def held(self, value: Tensor, hint: str = "constant") -> Ref:
        """A constant as a step."""
        if id(value) not in self._held:
            floats = value.float()
            self.spend(floats.numel())
            arguments = {"shape": list(floats.shape)}
            layer = layer_of("constant", arguments)
            ref = self._append("constant", [], arguments, layer, {"value": floats}, floats.to("meta"), hint)
            self._held[id(value)] = (value, ref)
        return self._held[id(value)][1]

    def _append(
        self,
        operator: str,
        inputs: list[str],
        arguments: dict[str, Any],
        layer: nn.Module,
        parameters: Mapping[str, Tensor],
        meta: Tensor,
        hint: str,
    ) -> Ref:
        name = self._free(hint or operator)
        self.steps.append([name, operator, inputs, arguments] if arguments else [name, operator, inputs])
        for key, expected in layer.state_dict().items():
            tensor = parameters.get(key, torch.zeros(expected.shape, dtype=expected.dtype))
            if tensor.shape != expected.shape:
                raise OnnxError(f"{key} of {name} has shape {list(tensor.shape)}, not {list(expected.shape)}.")
            self.state[f"{name}.{key}"] = tensor.to(expected.dtype).contiguous()
        self.operators[operator] = self.operators.get(operator, 0) + 1
        return Ref(name, meta)

    def _followed(self, layer: nn.Module, inputs: Sequence[Tensor], hint: str) -> Tensor:
        try:
            with torch.no_grad():
                meta: Tensor = layer(*inputs)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
            shapes = ", ".join(str(list(x.shape)) for x in inputs)
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise OnnxError(f"{shown(hint)} does not fit its inputs {shapes}: {shown(reason, 200)}.") from None
        if meta.numel() > MAX_ACTIVATION * self.photos:
            raise OnnxError(f"{shown(hint)} gives {list(meta.shape)} numbers, too many for one photo.")
        self._activations += meta.numel() / self.photos
        self._work += meta.numel() / self.photos * _multiplications(layer, inputs)
        if self._work > MAX_WORK or self._activations > MAX_ACTIVATIONS:
            allowed = f"{MAX_WORK:.0e} multiplications and {MAX_ACTIVATIONS:.0e} numbers"
            raise OnnxError(f"it is too costly: {allowed} are allowed for one photo.")
        return meta

    def _free(self, hint: str) -> str:
        plain = re.sub(r"\W+", "_", hint, flags=re.ASCII).strip("_")[:60] or "step"
        if not re.match(r"[A-Za-z]", plain) or hasattr(nn.Module, plain):
            plain = f"n_{plain}"
        name, number = plain, 2
        while name in self._names:
            name, number = f"{plain}_{number}", number + 1
        self._names.add(name)
        return name

    def batch_places(self, shape: Sequence[int], source: Value) -> list[int]:
        """Where a new shape holds the number of photos: multiples of it, or, at a batch of one, the first place."""
        if isinstance(source, Tensor) and self.photos != MANY:
            return []
        if self.photos == MANY:
            return [place for place, size in enumerate(shape) if size and size % MANY == 0]
        first = len(shape) > 0 and len(source.shape) > 0 and shape[0] % self.photos == 0 and source.shape[0] % self.photos == 0
        return [0] if first and shape[0] else []

    def holds_photos(self, value: Value, axis: int) -> bool:
        """Whether a dimension counts photos, as far as this can be told; the finished network is tried on two in any case."""
        return isinstance(value, Ref) and self.photos == MANY and value.shape[axis] % MANY == 0

    def reshaped(self, value: Value, shape: Sequence[int], hint: str, expand: bool = False) -> Value:
        """``value`` in another shape, whatever the number of photos will be."""
        places = self.batch_places(shape, value)
        sizes = [size // self.photos if place in places else size for place, size in enumerate(shape)]
        arguments: dict[str, Any] = {"shape": sizes}
        if places != [0]:
            arguments["batch"] = places
        if expand:
            arguments["expand"] = True
        return self.emit("reshape", [value], arguments, hint=hint, step=bool(places))


def _multiplications(layer: nn.Module, inputs: Sequence[Tensor]) -> int:
    """For each number that a layer gives."""
    if isinstance(layer, nn.Conv2d):
        return layer.weight[0].numel()
    if isinstance(layer, nn.Linear):
        return layer.in_features
    return inputs[0].shape[-1] if isinstance(layer, Apply) and layer.function == "matmul" and inputs[0].dim() else 1


def constant(value: Value | None, what: str) -> Tensor:
    """A value that must not depend on the image.

    Raises:
        OnnxError: it does, or it is missing.
    """
    if not isinstance(value, Tensor):
        missing = "is missing" if value is None else "depends on the image, which is not read here"
        raise OnnxError(f"{what} {missing}.")
    return value


def integers(value: Value | None, what: str) -> list[int]:
    """Whole numbers that must not depend on the image's content."""
    numbers = constant(value, what)
    if numbers.numel() > 65_536:
        raise OnnxError(f"{what} holds {numbers.numel()} numbers.")
    return [int(number) for number in numbers.reshape(-1).tolist()]


def name_of(node: OnnxNode, weight: str = "") -> str:
    """A name for a step: that of the module it was exported from, as far as the file still tells."""
    found = re.fullmatch(r"([A-Za-z_][\w.]*)\.(?:weight|bias|running_mean)", weight)
    if found:
        return found[1].replace(".", "_")
    parts = [part for part in node.name.split("/") if part]
    if node.name.startswith("/") and len(parts) > 1:
        parts = [a for a, b in zip(parts, [*parts[1:], ""], strict=True) if not b.startswith(f"{a}.")]
        return "_".join(parts[:-1])
    for candidate in (node.name, *node.outputs[:1]):
        if re.match(r"[A-Za-z]", candidate):
            return candidate
    return f"{node.op.lower()}_{candidate}"


def run(lowering: Lowering, operators: Mapping[str, Operator], nodes: Sequence[OnnxNode], values: dict[str, Value]) -> None:
    """Reads ``nodes`` in order; ``values`` by name grows by what they give.

    Raises:
        OnnxError: an operator that is not read here, or one that does not fit.
    """
    for node in nodes:
        inputs = [values[name] if name else None for name in node.inputs]
        try:
            given = operators[node.op](lowering, node, inputs)
        except OnnxError as error:
            raise OnnxError(f"operator {shown(node.op)} {shown(node.name or ''.join(node.outputs[:1]))}: {error}") from None
        except (
            FaceVeilError,
            RuntimeError,
            TypeError,
            ValueError,
            IndexError,
            KeyError,
            AttributeError,
            OverflowError,
        ) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise OnnxError(f"operator {shown(node.op)} {shown(node.name)} is malformed: {shown(reason, 200)}.") from None
        for name, value in zip(node.outputs, given if isinstance(given, list) else [given], strict=False):
            values[name] = value
