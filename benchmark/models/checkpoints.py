"""Import of public face-recognition checkpoints: weights only, never code; every tensor kept, or dropped with a reason."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from benchmark.interfaces import FaceVeilError
from benchmark.models.backbones import create
from benchmark.models.checkpoint_layouts import LAYOUTS, Layout
from benchmark.models.imported import Fed, Imported
from benchmark.models.onnx_import import import_onnx

# Where training scripts put the weights inside a checkpoint, and what wrappers put before every name.
NESTINGS = ("net_state_dict", "state_dict", "model_state_dict", "backbone", "model", "net")
PREFIXES = ("module.", "backbone.", "model.", "net.")


def import_checkpoint(path: Path, fed: Fed | None = None) -> Imported:
    """Reads an ``.onnx`` or ``.safetensors`` file, or one written by ``torch.save``, and finds its layout by its keys.

    Args:
        fed: what the user knows about how photos are fed.

    Raises:
        FaceVeilError: what the file is instead, or which tensor does not fit, with a remedy.
    """
    path, fed = Path(path), fed or Fed()
    notes: list[str] = []
    if path.suffix.lower() == ".onnx":
        _existing(path)
        return import_onnx(path, _sha256(path), fed, lambda state: _by_names(state, path))
    content = _read(path)
    state = _plain_names(_weights(content, path, notes), notes)
    _refuse_without_statistics(state, path)
    layout = next((layout for layout in LAYOUTS if layout.matches(state)), None)
    if layout is None:
        first = ", ".join(sorted(state)[:6])
        raise FaceVeilError(
            f"{path}: no known key layout ({len(state)} tensors: {first}, ...). Known: {'; '.join(la.name for la in LAYOUTS)}. "
            "Rename the keys to one of these, or build the submission with your own code and a timm backbone."
        )
    return _imported(layout, state, path, fed, notes)


def _imported(layout: Layout, state: Mapping[str, Tensor], path: Path, fed: Fed, notes: list[str]) -> Imported:
    architecture = layout.read(state)
    expected = create(architecture.name, architecture.kwargs).state_dict()
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
    layout = next((layout for layout in LAYOUTS if layout.matches(state)), None)
    if layout is None:
        return None
    notes = ["the names of its tensors are those of a known layout"]
    try:
        expected = layout.read(state)
        wanted = create(expected.name, expected.kwargs).state_dict()
        return _imported(layout, {name: t for name, t in state.items() if name in wanted}, path, Fed(), notes)
    except (FaceVeilError, KeyError, AttributeError):
        return None


def read_weights(path: Path) -> dict[str, Tensor]:
    """The named tensors of a ``.safetensors`` file or one written by ``torch.save``, of whatever network; no code runs.

    Raises:
        FaceVeilError: what the file is instead.
    """
    return _weights(_read(path), path, [])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> Any:
    """What the file holds: tensors, numbers, text and containers of them."""
    _existing(path)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FaceVeilError(
            f"{path} is not a file of plain weights, and code in a file is never run ({load_reason(error)}). Where you "
            "trust the file, load it yourself and save only its weights: torch.save(model.state_dict(), ...)."
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise FaceVeilError(f"{path} cannot be read as PyTorch or safetensors weights: {load_reason(error)}") from None


def _existing(path: Path) -> None:
    if not path.is_file():
        raise FaceVeilError(f"{path}: no such file.")
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise FaceVeilError(f"{path} is a git-LFS pointer, not the weights themselves: fetch them with `git lfs pull`.")


def load_reason(error: Exception) -> str:
    """What ``torch.load`` objects to, in one line, without its advice to load the file all the same."""
    if isinstance(error, KeyError):  # a byte that stands for nothing
        return "its bytes are no pickle"
    lines = str(error).split("WeightsUnpickler error: ")[-1].splitlines()
    told = [line.strip() for line in lines if line.strip() and "weights_only" not in line]
    return told[0] if told else "it ends too early"


def _is_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and any(isinstance(v, Tensor) for v in value.values())


def _weights(content: Any, path: Path, notes: list[str]) -> dict[str, Tensor]:
    """The one mapping of names to tensors inside ``content``."""
    if not isinstance(content, Mapping):
        raise FaceVeilError(f"{path} holds a {type(content).__name__}, not a dictionary of named tensors.")
    where = next((key for key in NESTINGS if _is_weights(content.get(key))), None)
    if where is not None:
        notes.append(f"weights taken from entry {where!r}")
        others = [str(key) for key in content if key != where]
        if others:
            notes.append(f"other entries of the file left out: {', '.join(others)}")
        content = content[where]
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        keys = ", ".join(map(str, list(content)[:6])) or "none"
        raise FaceVeilError(f"{path}: no tensors found (entries: {keys}); weights are looked for in {', '.join(NESTINGS)}.")
    rest = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if rest:
        notes.append(f"entries that are no tensors left out: {', '.join(rest)}")
    return tensors


def _plain_names(state: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Names without the prefix of a wrapper, where all of them have it."""
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        notes.append(f"prefix {prefix!r} removed from all {len(state)} names")
    return state


def _refuse_without_statistics(state: Mapping[str, Tensor], path: Path) -> None:
    means = [name for name in state if name.endswith("running_mean")]
    if not means:
        raise FaceVeilError(
            f"{path}: no BatchNorm statistics among its {len(state)} tensors ({', '.join(sorted(state)[:4])}, ...): they were "
            "folded into the convolutions, or the network has none. Use the weights as they were trained."
        )
    for name in means:
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
    heads = [n for n, t in state.items() if n not in expected and t.dim() == 2 and embedding in t.shape]
    for name in heads:
        notes.append(f"{name} {tuple(state[name].shape)} left out: a classification layer")
    untracked = [n for n in expected if n.endswith("num_batches_tracked") and n not in state]
    if untracked:
        notes.append(f"{len(untracked)} batch counters that the file lacks set to 0")
    problems = [f"unexpected {n} {tuple(t.shape)}" for n, t in state.items() if n not in expected and n not in heads]
    problems += [f"missing {n}" for n in expected if n not in state and n not in untracked]
    for name, wanted in expected.items():
        if name not in state:
            continue
        if state[name].shape != wanted.shape:
            problems.append(f"{name} is {tuple(state[name].shape)}, not {tuple(wanted.shape)}")
        elif not bool(torch.isfinite(state[name]).all()):
            problems.append(f"{name} is not finite")
    if problems:
        more = f" and {len(problems) - 6} more" if len(problems) > 6 else ""
        raise FaceVeilError(f"{path} has a known layout but does not fit it: {'; '.join(problems[:6])}{more}.")
    if any(state[n].dtype != expected[n].dtype for n in expected if n in state):
        notes.append("tensors converted to float32")
    return {n: state[n].to(t.dtype).contiguous() if n in state else torch.zeros_like(t) for n, t in expected.items()}
