"""Reads the generator of a checkpoint in the layout of the stylegan2-pytorch project by rosinality."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from attacks.generators.resample import filter_2d
from attacks.generators.stylegan2 import Generator
from attacks.generators.tensors import build, refusal
from benchmark.models.weight_files import read_content

ENTRY = "g_ema"
NOISE_SEED = 0
MEAN_SAMPLES = 10_000  # of w, where the file has no mean latent
_LAYER = {
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "conv.weight": "weight",
    "activate.bias": "bias",
    "noise.weight": "noise_strength",
}
_RGB = {
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "conv.weight": "weight",
    "bias": "bias",
}


def from_checkpoint(content: object, path: Path) -> Generator:
    """The generator ``g_ema`` of the file; ``latent_avg`` where it has one, otherwise the mean of w over seeded z.

    Raises:
        FaceVeilError: not such a checkpoint, or tensors that do not fit.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get(ENTRY), Mapping):
        found = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise refusal(path, f"no entry {ENTRY} with tensors in the checkpoint (found: {found[:200] or 'nothing'}).")
    tensors = {str(name): value for name, value in content[ENTRY].items() if isinstance(value, Tensor)}
    state = dict(filter(None, (_renamed(name, tensor, path) for name, tensor in tensors.items())))
    average = content.get("latent_avg")
    layers = "mapping.fc0.weight"
    if layers in state:  # otherwise the missing tensors are named by build
        state["mapping.w_avg"] = average.reshape(-1) if isinstance(average, Tensor) else torch.zeros(len(state[layers]))
    _draw_noise(state)
    generator = build(state, path)
    if not isinstance(average, Tensor):
        with torch.no_grad():
            generator.mapping.w_avg.copy_(generator.mapping.w(generator.latents(MEAN_SAMPLES, seed=0)).mean(0))
    return generator


def read_checkpoint(path: Path) -> object:
    """What a file of plain weights holds.

    Raises:
        FaceVeilError: code in it, or something else.
    """
    return read_content(path)


def _draw_noise(state: dict[str, Tensor]) -> None:
    """Noise maps for files from before they were kept: drawn from a fixed seed, so that one file is always one generator."""
    generator = torch.Generator().manual_seed(NOISE_SEED)
    layers = sorted(name.removesuffix("noise_strength") for name in state if name.endswith(".noise_strength"))
    lacking = [layer for layer in layers if f"{layer}noise_const" not in state]
    if lacking and len(lacking) == len(layers):
        for layer in lacking:
            size = int(layer.split(".")[1].removeprefix("b"))
            state[f"{layer}noise_const"] = torch.randn(size, size, generator=generator)
        warnings.warn(f"the file has no noise maps: {len(lacking)} were drawn from seed {NOISE_SEED}.", stacklevel=3)


def _renamed(name: str, tensor: Tensor, path: Path) -> tuple[str, Tensor] | None:
    """Our name and tensor; None for copies of the low-pass filter."""
    if name.endswith((".blur.kernel", ".upsample.kernel")):
        if tensor.shape != (4, 4) or not torch.allclose(tensor.float() / 4, filter_2d(), atol=1e-5):
            raise refusal(path, f"{name} is not the filter [1, 3, 3, 1], the only one that is drawn with here.")
        return None
    if found := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
        return f"mapping.fc{int(found[1]) - 1}.{found[2]}", tensor
    if name == "input.input" and tensor.dim() == 4:
        return "synthesis.b4.const", tensor[0]
    if (found := re.fullmatch(r"noises\.noise_(\d+)", name)) and tensor.dim() == 4:
        return f"synthesis.{_layer(int(found[1]))}.noise_const", tensor[0, 0]
    if found := re.fullmatch(r"(?:conv1|convs\.(\d+))\.(.+)", name):
        place = 0 if found[1] is None else int(found[1]) + 1
        return _of_layer(name, f"synthesis.{_layer(place)}", found[2], tensor)
    if found := re.fullmatch(r"(?:to_rgb1|to_rgbs\.(\d+))\.(.+)", name):
        size = 4 if found[1] is None else 8 * 2 ** int(found[1])
        return _of_rgb(name, f"synthesis.b{size}.torgb", found[2], tensor)
    return name, tensor  # unknown: named by build


def _layer(place: int) -> str:
    """Block and layer of the n-th 3 x 3 convolution, 0 for the first: b4.conv1, b8.conv0, b8.conv1, ..."""
    return f"b{4 * 2 ** ((place + 1) // 2)}.conv{(place + 1) % 2}"


def _of_layer(name: str, prefix: str, rest: str, tensor: Tensor) -> tuple[str, Tensor]:
    if rest not in _LAYER:
        return name, tensor
    if rest == "conv.weight" and tensor.dim() == 5:
        # there, a convolution's weights are scaled when used; here they are stored as they are used
        tensor = tensor[0] / math.sqrt(tensor[0, 0].numel())
    if rest == "noise.weight" and tensor.numel() == 1:
        tensor = tensor.reshape(())
    return f"{prefix}.{_LAYER[rest]}", tensor


def _of_rgb(name: str, prefix: str, rest: str, tensor: Tensor) -> tuple[str, Tensor]:
    if rest not in _RGB:
        return name, tensor
    if rest == "conv.weight" and tensor.dim() == 5:
        tensor = tensor[0]
    return f"{prefix}.{_RGB[rest]}", tensor.reshape(-1) if rest == "bias" else tensor
