"""What tensors an untrusted card's backbone must have, found without giving it memory.

The backbone is built on the meta device, and its construction is stopped as soon as it grows past what a submission may hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from benchmark.interfaces import BackboneSpec, FaceVeilError
from benchmark.models import backbones, graph_network
from benchmark.submissions.package import MAX_BYTES, WEIGHTS
from benchmark.submissions.problems import MismatchError, Problem, listed, shown
from benchmark.submissions.tensor_file import Header

MAX_CALLS = 50_000  # of torch functions while building; the largest models of timm need 33,000
MAX_ELEMENTS = MAX_BYTES[WEIGHTS] // 2  # the smallest float that a file may hold takes two bytes
MAX_ACTIVATION = 2**26  # elements of one tensor, for one photo
MAX_FLOPS = 2e11  # for one photo; ViT-L/14 at 224 pixels takes 1.6e11, IResNet-100 2.4e10
MAX_ARGUMENTS = 32
MAX_ITEMS = 32  # in a list argument
MAX_NUMBER = 8192

FORBIDDEN = re.compile(r"(pretrained|checkpoint|cache_dir|feature_cfg|features_only|out_indices|scriptable|exportable|no_jit)")
_TEXT = re.compile(r"[A-Za-z0-9_]{1,40}")
_NAME = re.compile(r"[a-z0-9_]{1,64}")
_ARCHITECTURE = "Give only numbers, switches and names of layers that describe the architecture."

Shapes = dict[str, tuple[tuple[int, ...], bool]]  # name -> shape, whether it holds floats


class _TooLargeError(Exception):
    """Construction passed a bound; not a RuntimeError, which builders turn into their own messages."""


def _problem(code: str, message: str, remedy: str) -> Problem:
    return Problem(part="mismatch", code=code, message=message, remedy=remedy)


def check_arguments(spec: BackboneSpec) -> list[Problem]:
    """What is wrong with a backbone's name and keyword arguments before anything is built."""
    problems = []
    if not _NAME.fullmatch(spec.name):
        known = ", ".join(backbones.names())
        remedy = f"Ours: {known}; any plain name of timm.list_models() works."
        message = f"backbone {shown(spec.name)} is not the name of an architecture."
        problems.append(_problem("unknown_backbone", message, remedy))
    if len(spec.kwargs) > MAX_ARGUMENTS:
        message = f"the backbone has {len(spec.kwargs)} arguments (allowed: {MAX_ARGUMENTS})."
        return [*problems, _problem("backbone_kwargs", message, _ARCHITECTURE)]
    if spec.name == graph_network.NAME:
        return [*problems, *_graph_problems(spec)]
    for key, value in spec.kwargs.items():
        if not _TEXT.fullmatch(key) or FORBIDDEN.search(key):
            problems.append(_problem("backbone_kwargs", f"backbone argument {shown(key)} may not be set.", _ARCHITECTURE))
        elif not _simple(value):
            message = (
                f"backbone argument {shown(key)} is {shown(value)}: allowed are true, false, null, numbers up to {MAX_NUMBER}, "
                f"plain names, and lists of up to {MAX_ITEMS} of them."
            )
            problems.append(_problem("backbone_kwargs", message, _ARCHITECTURE))
    return problems


def _graph_problems(spec: BackboneSpec) -> list[Problem]:
    """What is wrong with a network that is given as a list of steps."""
    rest = {key: value for key, value in spec.kwargs.items() if key != "graph"}
    if not set(rest) <= {"input_size", "norm", "front"} or not all(_simple(value) for value in rest.values()):
        message = "backbone 'graph' takes the arguments graph, input_size, norm and front."
        return [_problem("backbone_kwargs", message, _ARCHITECTURE)]
    try:
        graph_network.check_steps(spec.kwargs.get("graph"))
    except FaceVeilError as error:
        return [_problem("backbone_kwargs", str(error)[:600], "Make it with `faceveil import`.")]
    return []


def _simple(value: Any, depth: int = 0) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int | float):
        return abs(value) <= MAX_NUMBER
    if isinstance(value, str):
        return bool(_TEXT.fullmatch(value))
    items = isinstance(value, list | tuple) and depth < 2 and len(value) <= MAX_ITEMS
    return items and all(_simple(item, depth + 1) for item in value)


class _Meter(TorchFunctionMode):
    """Stops work on this thread that calls torch too often or makes a tensor of more than ``elements`` numbers."""

    def __init__(self, elements: int) -> None:
        super().__init__()
        self.elements = elements
        self.calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        if self.calls > MAX_CALLS:
            raise _TooLargeError(f"it was not complete after {MAX_CALLS} steps")
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.numel() > self.elements:
            raise _TooLargeError(f"one tensor of {list(result.shape)}")
        return result


def _build(spec: BackboneSpec) -> nn.Module:
    # A meter that stops inside a third party's `no_grad` keeps it from closing: the mode is put back here.
    with torch.set_grad_enabled(torch.is_grad_enabled()), torch.device("meta"), _Meter(MAX_ELEMENTS):
        model = backbones.create(spec.name, spec.kwargs)
    elements = sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
    if elements > MAX_ELEMENTS:
        raise _TooLargeError(f"{elements} numbers (allowed: {MAX_ELEMENTS})")
    return model


def expected_shapes(spec: BackboneSpec) -> Shapes:
    """Name -> shape of every tensor that the backbone's state holds; allocates none of them.

    Raises:
        MismatchError: unknown backbone, arguments that may not be set or do not fit, or a model past the bounds.
    """
    problems = check_arguments(spec)
    if problems:
        raise MismatchError(problems)
    try:
        state = _build(spec).state_dict()
    except _TooLargeError as error:
        message = f"backbone {shown(spec.name)} with these arguments is too large: {error}."
        raise MismatchError([_problem("backbone_too_large", message, "Submit a smaller model.")]) from None
    except FaceVeilError as error:
        code = "unknown_backbone" if str(error).startswith("unknown backbone") else "backbone_kwargs"
        raise MismatchError([_problem(code, str(error)[:600], "Correct `backbone` in card.json.")]) from None
    except MemoryError:  # nothing was allocated for the backbone: the machine is at fault, and nothing is judged
        raise
    except Exception as error:  # third-party constructors raise anything on arguments that they did not foresee
        message = f"backbone {shown(spec.name)} cannot be built: {type(error).__name__}: {shown(str(error), 200)}."
        raise MismatchError([_problem("backbone_kwargs", message, "Correct `backbone` in card.json.")]) from None
    return {name: (tuple(tensor.shape), tensor.is_floating_point()) for name, tensor in state.items()}


def photo_cost(spec: BackboneSpec, size: tuple[int, int]) -> float | None:
    """Operations of one photo of ``size``; computes nothing.  None for a backbone that cannot run without data.

    Raises:
        FaceVeilError: it makes a tensor of more than :data:`MAX_ACTIVATION` numbers, or cannot be built.
    """
    try:
        model = _build(spec).eval()
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), _Meter(MAX_ACTIVATION), counter:
            model(torch.empty(1, 3, *size, device="meta"))
    except _TooLargeError as error:
        raise FaceVeilError(str(error)) from None
    except MemoryError:
        raise
    except Exception:  # a size that does not fit is the red flags' to report, with its own message
        return None
    return float(counter.get_total_flops())


def check_cost(spec: BackboneSpec, size: tuple[int, int]) -> list[Problem]:
    """Whether one photo of ``size`` takes more memory or time than an evaluation can spend; computes nothing.

    A backbone that cannot run without data (on the meta device) is not judged here.
    """
    try:
        operations = photo_cost(spec, size) or 0.0
        cost = f"{operations:.1e} operations" if operations > MAX_FLOPS else ""
    except FaceVeilError as error:
        cost = str(error)
    if not cost:
        return []
    message = f"backbone {shown(spec.name)} is too costly: one photo of {size[0]} x {size[1]} takes {cost}."
    return [_problem("too_costly", message, f"Submit a smaller model (allowed: {MAX_FLOPS:.0e} operations a photo).")]


def compare(header: Header, expected: Mapping[str, tuple[tuple[int, ...], bool]]) -> list[Problem]:
    """How a file's tensors differ from those that the backbone has."""
    found = header.shapes
    problems = []
    missing, surplus = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    remedy = "Correct `backbone` in card.json, or save the state_dict() of exactly that backbone."
    if missing:
        problems.append(_problem("missing_tensor", f"{len(missing)} tensors are missing: {listed(missing)}.", remedy))
    if surplus:
        problems.append(_problem("surplus_tensor", f"{len(surplus)} tensors belong to no module: {listed(surplus)}.", remedy))
    for name in sorted(set(expected) & set(found)):
        (shape, floats), (wanted, wanted_floats) = found[name], expected[name]
        if shape != wanted:
            message = f"tensor {shown(name)} has shape {list(shape)}, the backbone's has {list(wanted)}."
            problems.append(_problem("wrong_shape", message, remedy))
        elif floats != wanted_floats:
            message = f"tensor {shown(name)} must hold {'floats' if wanted_floats else 'whole numbers'}."
            problems.append(_problem("wrong_dtype", message, remedy))
    return problems[:20]
