"""Import of public face-recognition networks: weights only, never code; every tensor kept, or dropped with a reason."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.interfaces import FaceVeilError
from benchmark.models.backbones import create
from benchmark.models.checkpoint_layouts import LAYOUTS, Layout
from benchmark.models.imported import Fed, Imported
from benchmark.models.onnx_import import import_onnx
from benchmark.models.weight_files import gate, load_reason, read_content

__all__ = ["import_checkpoint", "load_reason", "read_weights"]

MAX_DEPTH = 8  # of containers in containers
_SHOWN = 6  # names in a message
# What wrappers of single modules (compiled, sharded, recomputed) leave inside names
_WRAPPERS = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


@dataclass(frozen=True)
class Find:
    """A mapping inside a file whose names fit a layout once a common prefix is removed."""

    where: str
    prefix: str
    layout: Layout
    tensors: Mapping[str, Tensor]

    @property
    def averaged(self) -> bool:
        """Whether its names say that it holds the moving average of weights, which is what a project means to be used."""
        return "ema" in f"{self.where}.{self.prefix}".lower().replace("_", ".").split(".")

    def __str__(self) -> str:
        return f"entry {self.where or '(the file itself)'}" + (f", prefix {self.prefix!r}" if self.prefix else "")


def import_checkpoint(path: Path, fed: Fed | None = None) -> Imported:
    """Reads an ``.onnx`` or ``.safetensors`` file, or one written by ``torch.save``, and finds its layout by its keys.

    Args:
        fed: what the user knows about how photos are fed.

    Raises:
        FaceVeilError: what the file is instead, or which tensor does not fit, with a remedy.
    """
    path, fed = Path(path), fed or Fed()
    if path.suffix.lower() == ".onnx" and path.is_file():
        _refuse_pointer(path)
        return import_onnx(path, _sha256(path), fed, lambda state: _by_names(state, path))
    content = read_content(path)
    _refuse_keypoints(content, path)
    notes: list[str] = []
    found = _one(_finds(content), content, path, notes)
    given = _without_prefix(found, notes)
    state = gate(given, path)
    if any(given[name].dtype != tensor.dtype for name, tensor in state.items()):
        notes.append("tensors converted to float32")
    notes += _left_out(content, found)
    return _imported(found.layout, state, path, fed, notes, found.prefix)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The named tensors of a ``.safetensors`` file or one written by ``torch.save``, of whatever network; no code runs.

    Raises:
        FaceVeilError: what the file is instead, or several mappings of tensors in it.
    """
    path = Path(path)
    mappings = [(where, tensors) for where, tensors in _mappings(read_content(path)) if tensors]
    if not mappings:
        raise FaceVeilError(f"{path}: no tensors found in it.")
    most = max(len(tensors) for _, tensors in mappings)
    largest = [(where, tensors) for where, tensors in mappings if len(tensors) == most]
    if len(largest) > 1:
        names = ", ".join(where or "(the file itself)" for where, _ in largest)
        raise FaceVeilError(f"{path} holds several sets of as many tensors ({names}): save the one that is meant by itself.")
    return gate(largest[0][1], path)


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(23) == b"version https://git-lfs":
            raise FaceVeilError(f"{path} is a git-LFS pointer, not the network itself: fetch it with `git lfs pull`.")


def _refuse_keypoints(content: Any, path: Path) -> None:
    """CVLface's ViT and Swin with KP-RPE take more than a photo."""
    if any("keypoint_linear" in name.split(".") for _, tensors in _mappings(content) for name in tensors):
        raise FaceVeilError(
            f"{path} is a network with KP-RPE, whose position encoding reads the five keypoints of every photo; a backbone "
            "here is given the photo alone. Export it to ONNX with the keypoints of the ArcFace template, to which all photos "
            "are aligned, as constants."
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mappings(content: Any, where: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping inside, with the path of keys to it and the tensors that it holds itself."""
    if isinstance(content, list | tuple):
        content = dict(enumerate(content)) if any(isinstance(item, Mapping) for item in content) else None
    if not isinstance(content, Mapping) or depth > MAX_DEPTH:
        return
    tensors = {_WRAPPERS.sub("", str(name)): _tensor(value) for name, value in content.items()}
    yield where, {name: tensor for name, tensor in tensors.items() if tensor is not None}
    for name, value in content.items():
        if isinstance(value, Mapping | list | tuple):
            yield from _mappings(value, f"{where}.{name}" if where else str(name), depth + 1)


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape))
    return value if isinstance(value, Tensor) else None


def _finds(content: Any) -> list[Find]:
    found = []
    for where, tensors in _mappings(content):
        for layout in LAYOUTS:
            ends = [name for name in tensors if name == layout.first or name.endswith(f".{layout.first}")]
            for prefix in sorted({name.removesuffix(layout.first) for name in ends}):
                fits = all(tensors[prefix + key].dim() == rank for key, rank in layout.keys.items() if prefix + key in tensors)
                if layout.matches(tensors, prefix) and fits:
                    found.append(Find(where, prefix, layout, tensors))
    return found


def _one(found: list[Find], content: Any, path: Path, notes: list[str]) -> Find:
    """The find that is meant.

    Raises:
        FaceVeilError: none, or several that are equally good.
    """
    if not found:
        raise FaceVeilError(_nothing(content, path))
    if len(found) == 1:
        return found[0]
    averaged = [find for find in found if find.averaged]
    if len(averaged) == 1:
        others = "; ".join(str(find) for find in found if find is not averaged[0])
        notes.append(f"the moving average of the weights is taken ({averaged[0]}), not {others}")
        return averaged[0]
    first = _stripped(found[0])
    if all(_equal(first, _stripped(other)) for other in found[1:]):
        notes.append(f"the same weights stand in it {len(found)} times")
        return min(found, key=lambda find: len(find.where))
    raise FaceVeilError(
        f"{path} holds {len(found)} networks, and nothing says which is meant: {'; '.join(map(str, found[:_SHOWN]))}. "
        "Save the state_dict() of that one by itself."
    )


def _nothing(content: Any, path: Path) -> str:
    """Why no layout was found."""
    if isinstance(content, Tensor):
        return f"{path} holds a single tensor without a name, not a dictionary of named tensors."
    sets = sorted((tensors for _, tensors in _mappings(content) if tensors), key=len, reverse=True)
    if not sets:
        if isinstance(content, Mapping):
            keys = ", ".join(map(str, list(content)[:_SHOWN])) or "none"
            return f"{path}: no tensors found (entries: {keys}): save the network's state_dict()."
        return f"{path} holds a {type(content).__name__}, not a dictionary of named tensors."
    for name, tensor in sets[0].items():
        for layout, rank in _keys_with(name, sets[0]):
            if tensor.dim() != rank:
                odd = f"{name} has {tensor.dim()} dimensions, not {rank}"
                return f"{path} has the names of {layout} but does not fit it: {odd}."
    first = ", ".join(sorted(sets[0])[:_SHOWN])
    return (
        f"{path}: no known key layout ({len(sets[0])} tensors: {first}, ...). Known: {'; '.join(la.name for la in LAYOUTS)}. "
        "Export the network to ONNX, which brings its own architecture, or use `faceveil pack` with a timm backbone."
    )


def _keys_with(name: str, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, int]]:
    """Layouts whose names are all there, a prefix aside, with ``name`` among their keys, and the rank that it has there."""
    for layout in LAYOUTS:
        for key, rank in layout.keys.items():
            if (name == key or name.endswith(f".{key}")) and layout.matches(tensors, name.removesuffix(key)):
                yield layout.name, rank


def _stripped(find: Find) -> dict[str, Tensor]:
    return {n.removeprefix(find.prefix): t for n, t in find.tensors.items() if n.startswith(find.prefix)}


def _equal(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def _without_prefix(find: Find, notes: list[str]) -> dict[str, Tensor]:
    state = _stripped(find)
    if find.where:
        notes.append(f"weights taken from entry {find.where!r}")
    if find.prefix:
        notes.append(f"prefix {find.prefix!r} removed from {len(state)} names")
        outside = [name for name in find.tensors if not name.startswith(find.prefix)]
        if outside:
            shapes = ", ".join(f"{name} {tuple(find.tensors[name].shape)}" for name in outside[:_SHOWN])
            more = f" and {len(outside) - _SHOWN} more" if len(outside) > _SHOWN else ""
            notes.append(f"{shapes}{more} left out: outside the backbone, a classification layer or part of the training")
    return state


def _left_out(content: Any, find: Find) -> list[str]:
    """What else the file holds, beside the way to the weights."""
    if not isinstance(content, Mapping):
        return []
    way = find.where.split(".")[0] if find.where else None
    others = [str(key) for key, value in content.items() if str(key) != way and not (way is None and isinstance(value, Tensor))]
    return [f"other entries of the file left out: {', '.join(others[:12])}"] if others else []


def _imported(
    layout: Layout, state: Mapping[str, Tensor], path: Path, fed: Fed, notes: list[str], prefix: str = ""
) -> Imported:
    if layout.renamed:
        notes.append(f"names of {layout.name} turned into those of our backbone")
    state = layout.named(state)
    try:
        architecture = layout.read(state, prefix)
        with torch.random.fork_rng(devices=[]):
            expected = create(architecture.name, architecture.kwargs).state_dict()
    except (KeyError, IndexError, ValueError, ZeroDivisionError, RuntimeError) as error:
        raise FaceVeilError(f"{path} has the names of {layout.name} but does not fit it: {ascii(str(error))[:160]}.") from None
    _refuse_without_training(state, path)
    embedding = architecture.kwargs["embedding_size"]
    kept = _account(state, expected, embedding, path, notes)
    norms = sum(name.endswith("running_mean") for name in kept)
    return Imported(
        backbone_name=architecture.name,
        kwargs=architecture.kwargs,
        state_dict=kept,
        input=fed.applied(architecture.input),
        embedding_size=embedding,
        layout=layout.name,
        file_sha256=_sha256(path),
        notes=tuple(notes),
        batchnorms=(norms, norms),
    )


def _by_names(state: Mapping[str, Tensor], path: Path) -> Imported | None:
    """The layout of an exported network whose tensors have kept all their names; None: they have not."""
    for layout in LAYOUTS:
        if not layout.matches(state) or any(state[key].dim() != rank for key, rank in layout.keys.items()):
            continue
        try:
            architecture = layout.read(layout.named(state), "")
            wanted = create(architecture.name, architecture.kwargs).state_dict()
            ours = {name: next(iter(layout.named({name: tensor}))) for name, tensor in state.items()}
            named = {name: tensor for name, tensor in state.items() if ours[name] in wanted}
            return _imported(layout, named, path, Fed(), ["the names of its tensors are those of a known layout"])
        except (FaceVeilError, LookupError, ValueError):
            continue
    return None


def _refuse_without_training(state: Mapping[str, Tensor], path: Path) -> None:
    for name in [name for name in state if name.endswith("running_mean")]:
        variance = state.get(name.replace("running_mean", "running_var"))
        if variance is not None and bool((state[name] == 0).all()) and bool((variance == 1).all()):
            layer = name.removesuffix(".running_mean")
            raise FaceVeilError(
                f"{path}: BatchNorm layer {layer!r} was never updated (mean 0, variance 1): the network was not trained, "
                "or its statistics were reset. Use the weights as they were trained."
            )


def _account(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], embedding: int, path: Path, notes: list[str]
) -> dict[str, Tensor]:
    """The tensors that the backbone wants; every other one is a classification layer, or the file is refused."""
    heads = _heads(state, expected, embedding)
    for name in heads:
        notes.append(f"{name} {tuple(state[name].shape)} left out: a classification layer")
    untracked = [n for n in expected if n.endswith("num_batches_tracked") and n not in state]
    if untracked:
        notes.append(f"{len(untracked)} batch counters that the file lacks set to 0")
    problems = _problems({n: t for n, t in state.items() if n not in heads}, expected, untracked)
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        text = f"{path} has a known layout but does not fit it: {'; '.join(problems[:_SHOWN])}{more}."
        if sum(p.endswith(("running_mean", "running_var")) for p in problems) == len(problems):
            text += (
                " Its BatchNorm statistics were left out or folded: use the weights as they were trained, or their ONNX export."
            )
        elif any(p.startswith("unexpected") for p in problems):
            text += " It is a variant that is not known: export it to ONNX, which brings its own architecture."
        raise FaceVeilError(text)
    return {n: state[n].to(t.dtype).contiguous() if n in state else torch.zeros_like(t) for n, t in expected.items()}


def _problems(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], untracked: Sequence[str]) -> list[str]:
    """Where a file's tensors are not those of the backbone, which can do without the ``untracked``."""
    problems = [f"unexpected {n} {tuple(t.shape)}" for n, t in state.items() if n not in expected]
    problems += [f"missing {n}" for n in expected if n not in state and n not in untracked]
    for name, wanted in expected.items():
        if name not in state:
            continue
        if state[name].shape != wanted.shape:
            problems.append(f"{name} is {tuple(state[name].shape)}, not {tuple(wanted.shape)}")
        elif wanted.is_floating_point() and not state[name].is_floating_point():
            kind = str(state[name].dtype).removeprefix("torch.")
            problems.append(f"{name} holds whole numbers ({kind}), as quantised weights do")
        elif not bool(torch.isfinite(state[name]).all()):
            problems.append(f"{name} is not finite")
        elif name.endswith("running_var") and bool((state[name] < 0).any()):
            problems.append(f"{name} holds negative variances")
    return problems


def _heads(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], embedding: int) -> list[str]:
    """Tensors of a classification layer: matrices with a side of the embedding, and what else stands under the same name.

    Inside a module of the backbone it follows the embedding; what lies deeper, in a block, makes another network.
    """
    others = {name: tensor for name, tensor in state.items() if name not in expected}
    ours = {name.split(".")[0] for name in expected}
    outer = [name for name in others if name.split(".")[0] not in ours or name.count(".") <= 2]
    matrices = [name for name in outer if others[name].dim() == 2 and embedding in others[name].shape]
    modules = {name.split(".")[0] for name in matrices} - ours
    layers = {name.rpartition(".")[0] for name in matrices} - {""}
    return [n for n in others if n in matrices or n.split(".")[0] in modules or n.rpartition(".")[0] in layers]
