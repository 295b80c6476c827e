"""Views of a photo: changes of the image under which an attacker looks at the same face again.

A view is named: ``flip``, ``dim`` and the like are fixed; ``augment-N`` is the N-th random view, drawn from the photo's own
pixels and N alone, so that the same photo has the same views in every batch, order and run.  All are differentiable.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data.procedural.counter_hash import GOLDEN, mix
from benchmark.interfaces import FaceVeilError

AUGMENT_AREA = (0.6, 1.0)  # share of the photo that an augmented view shows
JITTER = 0.4  # brightness, contrast and saturation change by factors of 1 - JITTER to 1 + JITTER
GREY = 0.2  # share of augmented views without colour
_LUMA = (0.299, 0.587, 0.114)
_AUGMENT = re.compile(r"augment-(\d{1,6})")
_CROPS = 1 << 32  # keeps the draws of crops apart from those of augmented views


def _shift(images: Tensor) -> Tensor:
    """A 28th of the width to the right and down, edges repeated: a small misalignment."""
    step = max(1, round(images.shape[-1] / 28))
    return F.pad(images, (step, 0, step, 0), mode="replicate")[..., : images.shape[-2], : images.shape[-1]]


def _grey(images: Tensor) -> Tensor:
    return (images * images.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _zoom(images: Tensor) -> Tensor:
    """The middle 0.9 of both sides, resized."""
    turn = images.new_tensor([[0.9, 0, 0], [0, 0.9, 0]]).expand(len(images), 2, 3)
    grid = F.affine_grid(turn, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _grain(images: Tensor) -> Tensor:
    """Gaussian noise of standard deviation 0.05, the same on every photo."""
    noise = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(0)).to(images)
    return (images + 0.05 * noise).clamp(0, 1)


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda images: images,
    "flip": lambda images: images.flip(-1),
    "shift": _shift,
    "dim": lambda images: images * 0.7,
    "blur": lambda images: F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1),
    "bright": lambda images: (images * 1.3).clamp(0, 1),
    "contrast": lambda images: 0.5 + 0.7 * (images - 0.5),
    "grey": lambda images: _grey(images).expand_as(images),
    "zoom": _zoom,
    "grain": _grain,
}


def apply_view(name: str, images: Tensor) -> Tensor:
    """The view ``name`` of images (B, 3, H, W), floats in [0, 1].

    Raises:
        FaceVeilError: no such view.
    """
    if name in VIEWS:
        return VIEWS[name](images)
    found = _AUGMENT.fullmatch(name)
    if found is None:
        raise FaceVeilError(f"unknown view {name!r}; one of {', '.join(VIEWS)} or augment-N.")
    return augment(images, int(found.group(1)))


def uniforms(images: Tensor, seed: int, count: int) -> Tensor:
    """(B, count) numbers in [0, 1), drawn from each photo's pixels (to 8 bits) and ``seed``."""
    pixels = (images.detach() * 255).round().clamp(0, 255).to(torch.uint8).cpu().contiguous().numpy()
    content = np.array([zlib.crc32(photo) for photo in pixels], np.uint64)
    key = mix(content + GOLDEN * np.array([seed + 1], np.uint64))  # as an array, which wraps in silence
    bits = mix(key[:, None] + GOLDEN * np.arange(1, count + 1, dtype=np.uint64))
    values = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return torch.from_numpy(values).to(images.device, images.dtype)


def thumbnails(images: Tensor) -> Tensor:
    """Grey pictures of 16 x 16, (B, 256), each with mean 0 and length 1: what the photo looks like, whatever its light."""
    small = F.adaptive_avg_pool2d(_grey(images), 16).flatten(1)
    return F.normalize(small - small.mean(1, keepdim=True))


def augment(images: Tensor, number: int) -> Tensor:
    """A random crop resized back, mirrored half the time, with jittered colours; the same shape."""
    u = uniforms(images, number, 8)
    view = _cut(images, u[:, None, :4], AUGMENT_AREA, (images.shape[-2], images.shape[-1]))[:, 0]
    brightness, contrast, saturation = ((1 + JITTER * (2 * u[:, i] - 1)).view(-1, 1, 1, 1) for i in (4, 5, 6))
    view = view * brightness
    view = _blend(view, view.mean((1, 2, 3), keepdim=True), contrast)
    view = _blend(view, _grey(view), torch.where(u[:, 7].view(-1, 1, 1, 1) < GREY, 0.0, saturation))
    return view.clamp(0, 1)


def crops(images: Tensor, count: int, area: tuple[float, float], size: tuple[int, int]) -> Tensor:
    """Random parts of each photo, resized: (B, count, 3, h, w); ``area`` is the share of the photo that one shows."""
    draws = uniforms(images, _CROPS, 4 * count).view(len(images), count, 4)
    return _cut(images, draws, area, size)


def _blend(images: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    return other + weight * (images - other)


def _cut(images: Tensor, draws: Tensor, area: tuple[float, float], size: tuple[int, int]) -> Tensor:
    """Parts (B, n, 3, h, w) of images by ``draws`` (B, n, 4): area, place in x and y, mirrored or not."""
    count = draws.shape[1]
    height, width = size
    side = (area[0] + (area[1] - area[0]) * draws[..., 0]).sqrt()
    centre = (2 * draws[..., 1:3] - 1) * (1 - side)[..., None]
    mirror = torch.where(draws[..., 3] < 0.5, -1.0, 1.0).to(side.dtype)
    x = (torch.arange(width, device=images.device, dtype=images.dtype) + 0.5) * (2 / width) - 1
    y = (torch.arange(height, device=images.device, dtype=images.dtype) + 0.5) * (2 / height) - 1
    across = centre[..., :1] + (side * mirror)[..., None] * x  # (B, n, w)
    down = centre[..., 1:] + side[..., None] * y  # (B, n, h)
    grid = torch.stack(torch.broadcast_tensors(across[:, :, None, :], down[:, :, :, None]), dim=-1)
    # all parts of a photo as one tall image, so that the photo is not copied for each
    parts = F.grid_sample(images, grid.flatten(1, 2), mode="bilinear", padding_mode="border", align_corners=False)
    out: Tensor = parts.unflatten(2, (count, height)).transpose(1, 2)
    return out
