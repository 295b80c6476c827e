"""Networks given as a list of steps: plain data that a card can hold, built into modules that are real layers.

An ONNX file becomes such a list (:mod:`benchmark.models.onnx_network`).  The list comes from strangers: names, operators and
arguments are checked here before a layer is built, and sizes by whoever builds it on the meta device.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from benchmark.interfaces import FaceVeilError
from benchmark.models.graph_layers import LAYERS, Reshape

NAME = "graph"  # of the backbone that a card names; its argument of that name is the list of steps
IMAGE = "image"  # the input of the network among the inputs of steps
MAX_STEPS = 6_000
MAX_INPUTS = 64  # of one step
MAX_NUMBER = 2**24  # of one argument
_STEP = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
_WORD = re.compile(r"[a-z0-9_]{1,24}")

Step = Sequence[Any]  # name, operator, names of its inputs, and arguments if it has any


def _refusal(reason: str) -> FaceVeilError:
    return FaceVeilError(f"the graph cannot be built: {reason}")


def check_steps(steps: Any) -> None:
    """Whether a list of steps can be built: each reads only what stands before it, and all names and numbers are plain.

    Raises:
        FaceVeilError: which step is wrong, and how.
    """
    if not isinstance(steps, list | tuple) or not 0 < len(steps) <= MAX_STEPS:
        raise _refusal(f"it must be a list of 1 to {MAX_STEPS} steps.")
    known = {IMAGE}
    for number, step in enumerate(steps):
        where = f"step {number}"
        if not isinstance(step, list | tuple) or len(step) not in (3, 4):
            raise _refusal(f"{where} is not [name, operator, inputs, arguments].")
        name, operator, inputs = step[:3]
        if not isinstance(name, str) or not _STEP.fullmatch(name) or name in known or hasattr(nn.Module, name):
            raise _refusal(f"{where} has a name that is taken or that no layer can have: {ascii(name)[:80]}.")
        if not isinstance(operator, str) or operator not in LAYERS:
            raise _refusal(f"{where} has operator {ascii(operator)[:80]}; known: {', '.join(sorted(LAYERS))}.")
        if not isinstance(inputs, list | tuple) or len(inputs) > MAX_INPUTS:
            raise _refusal(f"{where} has no list of up to {MAX_INPUTS} inputs.")
        unknown = [item for item in inputs if not isinstance(item, str) or item not in known]
        if unknown:
            raise _refusal(f"{where} reads {ascii(unknown[0])[:80]}, which does not stand before it.")
        _check_arguments(step[3] if len(step) == 4 else {}, where)
        known.add(name)


def _check_arguments(arguments: Any, where: str) -> None:
    if not isinstance(arguments, Mapping) or len(arguments) > 16:
        raise _refusal(f"the arguments of {where} are not an object of up to 16 values.")
    for key, value in arguments.items():
        values = value if isinstance(value, list | tuple) else [value]
        plain = len(values) <= 16 and all(_plain(item) for item in values)
        if not isinstance(key, str) or not _WORD.fullmatch(key) or not plain:
            raise _refusal(f"argument {ascii(key)[:40]} of {where} is {ascii(value)[:80]}.")


def _plain(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int | float):
        return abs(value) <= MAX_NUMBER or (isinstance(value, float) and abs(value) < 1e38)
    return isinstance(value, str) and bool(_WORD.fullmatch(value))


class GraphNetwork(nn.Module):
    """Images (B, 3, H, W) to embeddings (B, D), by a list of steps.

    Args:
        graph: the steps; the last one gives the embedding.
        input_size: height and width of the images that it takes.
    """

    def __init__(self, graph: Sequence[Step], input_size: Sequence[int]) -> None:
        super().__init__()
        check_steps(graph)
        self.input_size = tuple(input_size)
        self._steps: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
        last_use: dict[str, int] = {}
        for number, step in enumerate(graph):
            for item in step[2]:
                last_use[item] = number
        self._reshapes: list[Reshape] = []
        for number, step in enumerate(graph):
            name, operator, inputs = step[:3]
            arguments = dict(step[3]) if len(step) == 4 else {}
            layer = layer_of(operator, arguments, name)
            self.add_module(name, layer)
            if isinstance(layer, Reshape):
                self._reshapes.append(layer)
            done = tuple({item for item in inputs if last_use[item] == number})
            self._steps.append((name, tuple(inputs), done))

    def forward(self, x: Tensor) -> Tensor:
        values = {IMAGE: x}
        for reshape in self._reshapes:
            reshape.photos = len(x)
        name = IMAGE
        for name, inputs, done in self._steps:
            values[name] = self._modules[name](*[values[item] for item in inputs])  # type: ignore[misc]
            for item in done:
                del values[item]
        return values[name]


def layer_of(operator: str, arguments: Mapping[str, Any], where: str = "a step") -> nn.Module:
    """The layer of one step.

    Raises:
        FaceVeilError: arguments that the layer does not take.
    """
    try:
        return LAYERS[operator](**arguments)
    except (TypeError, ValueError, KeyError, IndexError, ZeroDivisionError, AssertionError, RuntimeError) as error:
        raise _refusal(f"{where}: {operator} with {ascii(dict(arguments))[:160]}: {ascii(str(error))[:160]}.") from None
