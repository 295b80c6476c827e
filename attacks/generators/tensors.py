"""From named tensors to a generator: its settings are read off the shapes, and every tensor is accounted for.

Names are those of the published PyTorch checkpoints: ``mapping.{w_avg, fc0..}``, ``synthesis.b4..b{resolution}.{const, conv0,
conv1, torgb}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from attacks.generators.resample import filter_2d
from attacks.generators.stylegan2 import Generator
from benchmark.interfaces import FaceVeilError

_BLOCK = re.compile(r"synthesis\.b(\d+)\.")
_LAYER = re.compile(r"mapping\.fc(\d+)\.weight")
_SHOWN = 6


def refusal(path: object, reason: str) -> FaceVeilError:
    """The error for a file that is not a generator we can draw with."""
    return FaceVeilError(f"{path}: {reason}")


def without_filters(state: Mapping[str, Tensor], path: object) -> dict[str, Tensor]:
    """The tensors without the copies of the low-pass filter that every published layer carries.

    Raises:
        FaceVeilError: another filter than [1, 3, 3, 1].
    """
    kept = {}
    for name, tensor in state.items():
        if not name.endswith("resample_filter"):
            kept[name] = tensor
        elif tensor.shape != (4, 4) or not torch.allclose(tensor.float(), filter_2d(), atol=1e-5):
            raise refusal(path, f"{name} is not the filter [1, 3, 3, 1], the only one that is drawn with here.")
    return kept


def settings_of(state: Mapping[str, Tensor], path: object) -> dict[str, Any]:
    """Arguments of :class:`Generator`, read off the shapes.

    Raises:
        FaceVeilError: the tensors that settings are read from are missing.
    """
    sizes = sorted({int(found[1]) for name in state if (found := _BLOCK.match(name))})
    layers = [name for name in state if _LAYER.fullmatch(name)]
    wanted = ["mapping.fc0.weight", *(f"synthesis.b{size}.conv1.weight" for size in sizes or [4])]
    missing = [name for name in wanted if name not in state or state[name].dim() < 2]
    if missing:
        raise refusal(path, f"no StyleGAN2 generator: {_listed('missing', missing)} among {len(state)} tensors.")
    channels = {size: state[f"synthesis.b{size}.conv1.weight"].shape[0] for size in sizes}
    widest = max(channels.values())
    bases = [size * count for size, count in channels.items() if count < widest] or [widest * sizes[-1]]

    def fitting(base: int) -> int:
        return sum(min(base // size, widest) == count for size, count in channels.items())

    w_dim, z_dim = state["mapping.fc0.weight"].shape
    return {
        "resolution": sizes[-1],
        "z_dim": z_dim,
        "w_dim": w_dim,
        "mapping_layers": len(layers),
        "channel_base": max(bases, key=fitting),  # so that one misshapen tensor is named alone
        "channel_max": widest,
    }


def build(state: Mapping[str, Tensor], path: object, clamp: float | None = None) -> Generator:
    """A generator with these tensors, as float32, in evaluation mode, frozen.

    Args:
        path: named in errors.

    Raises:
        FaceVeilError: tensors missing, left over, of another shape, or not finite; all named.
    """
    settings = settings_of(state, path)
    with torch.device("meta"):
        expected = Generator(**settings, clamp=clamp).state_dict()
    problems = _problems(state, expected)
    if problems:
        raise refusal(path, f"does not fit a StyleGAN2 generator of {settings['resolution']} px: {'; '.join(problems)}.")
    with torch.random.fork_rng(devices=[]):
        generator = Generator(**settings, clamp=clamp)
    generator.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return generator.eval().requires_grad_(False)


def _problems(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    misfits = [n for n, t in expected.items() if n in state and state[n].shape != t.shape]
    broken = [n for n in expected if n in state and not bool(torch.isfinite(state[n]).all())]
    groups = {
        "missing": [n for n in expected if n not in state],
        "unexpected": [n for n in state if n not in expected],
        "of another shape": [f"{n} {tuple(state[n].shape)} instead of {tuple(expected[n].shape)}" for n in misfits],
        "NaN or infinite": broken,
    }
    return [_listed(what, names) for what, names in groups.items() if names]


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what} {', '.join(names[:_SHOWN])}{more}"
