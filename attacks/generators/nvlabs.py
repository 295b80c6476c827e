"""Reads the generator of an NVlabs stylegan2-ada-pytorch pickle: tensors only, the embedded source never runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from attacks.generators.mapping import LR_MULTIPLIER
from attacks.generators.pickles import Inert, read_pickle
from attacks.generators.stylegan2 import Generator
from attacks.generators.tensors import build, refusal, without_filters

ENTRY = "G_ema"
# Attributes that change what is computed and that no tensor shows, with the one value that is drawn with here.
_ATTRIBUTES = {"architecture": "skip", "activation": "lrelu", "use_noise": True, "c_dim": 0}


def read_nvlabs(path: Path) -> Generator:
    """The generator ``G_ema`` of the file.

    Raises:
        FaceVeilError: not such a pickle, code in it, another architecture (a conditional one, say), or tensors that do not fit.
    """
    content = read_pickle(path)
    if not isinstance(content, Mapping) or not isinstance(content.get(ENTRY), Inert):
        found = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise refusal(path, f"no entry {ENTRY} with a generator in the pickle (found: {found[:200] or 'nothing'}).")
    modules = dict(_modules(content[ENTRY], ""))
    if "mapping" not in modules or "synthesis" not in modules:
        raise refusal(path, f"{ENTRY} has no mapping and synthesis network: not a StyleGAN2 generator.")
    _check(modules, path)
    state = without_filters(_tensors(modules), path)
    return build(state, path, _clamp(modules, path))


def _state(obj: Any) -> dict[str, Any]:
    """The attributes of a pickled module, whichever way it was stored."""
    if isinstance(obj, Inert) and obj.args and isinstance(obj.args[0], Mapping) and "state" in obj.args[0]:
        obj = obj.args[0]["state"]  # torch_utils.persistence
    elif isinstance(obj, Inert):
        obj = obj.state
    return dict(obj) if isinstance(obj, Mapping) else {}


def _modules(obj: Any, name: str) -> list[tuple[str, dict[str, Any]]]:
    """(dotted name, attributes) of a module and all modules in it."""
    state = _state(obj)
    found = [(name, state)]
    for child, value in dict(state.get("_modules") or {}).items():
        found += _modules(value, f"{name}.{child}".lstrip("."))
    return found


def _tensors(modules: Mapping[str, dict[str, Any]]) -> dict[str, Tensor]:
    found = {}
    for name, state in modules.items():
        for kind in ("_parameters", "_buffers"):
            for own, tensor in dict(state.get(kind) or {}).items():
                if isinstance(tensor, Tensor):
                    found[f"{name}.{own}".lstrip(".")] = tensor
    return found


def _check(modules: Mapping[str, dict[str, Any]], path: Path) -> None:
    for name, state in modules.items():
        for attribute, wanted in _ATTRIBUTES.items():
            if name.endswith("affine") or attribute not in state:  # affine layers are linear
                continue
            if state[attribute] != wanted:
                raise refusal(
                    path, f"{name or ENTRY} has {attribute}={state[attribute]!r}; only {wanted!r} is drawn with here."
                )
    gain = modules.get("mapping.fc0", {}).get("bias_gain", LR_MULTIPLIER)
    if isinstance(gain, int | float) and abs(gain - LR_MULTIPLIER) > 1e-9:
        raise refusal(
            path, f"the mapping network has a learning-rate multiplier of {gain}; only {LR_MULTIPLIER} is drawn with."
        )


def _clamp(modules: Mapping[str, dict[str, Any]], path: Path) -> float | None:
    clamps = {
        state["conv_clamp"]
        for name, state in modules.items()
        if name.endswith(("conv0", "conv1", "torgb")) and "conv_clamp" in state
    }
    if len(clamps) > 1:
        raise refusal(path, f"layers clamp at different values: {sorted(map(str, clamps))}.")
    return next(iter(clamps), None)
