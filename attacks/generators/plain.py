"""Generators without a mapping network: any module from z to images, searched in z itself; and DCGANs read from files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attacks.generators.tensors import refusal

_STEP = re.compile(r"(?:main|net|model|layers)\.(\d+)\.(\w+)$")
_NESTINGS = ("netG_state_dict", "generator_state_dict", "state_dict", "netG", "generator", "g_ema", "G")
LARGEST = 1024  # pixels


class PlainGenerator(nn.Module):
    """A generator z -> image as attacks want one: w is z, and there is one w for the whole image.

    Args:
        network: (B, z_dim, 1, 1) or (B, z_dim) to images (B, 3, S, S) in [-1, 1], or in [0, 1] with ``signed`` False.
        flat: whether the network takes (B, z_dim).
    """

    num_ws = 1
    w_avg: Tensor  # (z_dim,)

    def __init__(self, network: nn.Module, z_dim: int, resolution: int, *, signed: bool = True, flat: bool = False) -> None:
        super().__init__()
        self.network, self.z_dim, self.w_dim, self.resolution = network, z_dim, z_dim, resolution
        self.signed, self.flat = signed, flat
        self.metadata: dict[str, str] = {}
        self.register_buffer("w_avg", torch.zeros(z_dim))

    def mapping(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """(B, z_dim) -> (B, 1, z_dim): z itself, drawn towards 0 by ``truncation``."""
        return (truncation * z)[:, None]

    def images(self, ws: Tensor, _noise: str = "const") -> Tensor:
        """(B, 1, z_dim) -> (B, 3, S, S) in [0, 1]; it has no noise of its own."""
        z = ws[:, 0]
        made = self.network(z if self.flat else z[:, :, None, None])
        out: Tensor = ((made * 0.5 + 0.5) if self.signed else made).clamp(0, 1)
        return out

    def latents(self, count: int, seed: int) -> Tensor:
        """(count, z_dim) Gaussian latents from a seed, the same on every device."""
        return torch.randn(count, self.z_dim, generator=torch.Generator().manual_seed(seed)).to(self.w_avg.device)


def dcgan_tensors(content: object) -> dict[str, Tensor] | None:
    """The tensors of a DCGAN's generator in a checkpoint, by layer; None where it holds none.

    That is: transposed convolutions (4-D weights), the first of them 4 x 4 on a single place, with BatchNorm between
    (Radford et al., arXiv 1511.06434), numbered as in an ``nn.Sequential``.
    """
    candidates = [content, *((content[name] for name in _NESTINGS if name in content) if isinstance(content, Mapping) else ())]
    for candidate in candidates:
        if not isinstance(candidate, Mapping):
            continue
        tensors = {str(n).removeprefix("module."): t for n, t in candidate.items() if isinstance(t, Tensor)}
        if tensors and len(tensors) == len(candidate) and all(_STEP.match(name) for name in tensors):
            return tensors
    return None


def build_dcgan(tensors: Mapping[str, Tensor], path: Path) -> PlainGenerator:
    """The generator: 4 x 4 from z, then doubled by every layer; ReLU between, tanh at the end.

    Raises:
        FaceVeilError: layers that do not follow one another, are not finite, or make something else than RGB images.
    """
    layers: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        found = _STEP.match(name)
        assert found is not None
        layers.setdefault(int(found[1]), {})[found[2]] = tensor
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise refusal(path, f"{name} is not finite.")
    modules: list[nn.Module] = []
    side, channels, z_dim = 0, 0, 0
    for number in sorted(layers):
        own = layers[number]
        weight = own.get("weight")
        if weight is None:
            raise refusal(path, f"layer {number} has no weight.")
        if weight.dim() == 4:
            if weight.shape[2:] != (4, 4) or (channels and weight.shape[0] != channels):
                raise refusal(path, f"layer {number}, {tuple(weight.shape)}, does not follow on {channels} channels, 4 x 4.")
            first = not channels
            z_dim = z_dim or weight.shape[0]
            channels, side = weight.shape[1], 4 if first else 2 * side
            step: dict[str, Any] = {"stride": 1, "padding": 0} if first else {"stride": 2, "padding": 1}
            modules.append(nn.ConvTranspose2d(weight.shape[0], channels, 4, bias="bias" in own, **step))
        elif weight.dim() == 1 and channels == len(weight) and "running_mean" in own:
            modules += [nn.BatchNorm2d(channels), nn.ReLU()]
        else:
            raise refusal(path, f"layer {number} of shape {tuple(weight.shape)} does not belong to a DCGAN.")
        _fill(modules, own, number, path)
    if channels != 3 or not 16 <= side <= LARGEST:
        made = f"{channels} x {side} x {side} numbers"
        raise refusal(path, f"a DCGAN that makes {made}; images of 3 channels and 16 to {LARGEST} pixels are drawn.")
    return PlainGenerator(nn.Sequential(*modules, nn.Tanh()), z_dim, side).eval().requires_grad_(False)


def _fill(modules: list[nn.Module], own: Mapping[str, Tensor], number: int, path: Path) -> None:
    """Loads a layer's tensors into the last module that takes any."""
    module = next(m for m in reversed(modules) if not isinstance(m, nn.ReLU))
    try:
        module.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in own.items()}, strict=False)
    except RuntimeError as error:
        raise refusal(path, f"layer {number}: {str(error).splitlines()[-1].strip()}") from None
