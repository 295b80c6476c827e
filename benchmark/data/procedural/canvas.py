"""Coordinates, soft masks and paint for drawing procedural faces, batched.

Only additions, products, divisions, square roots, comparisons and clamps touch pixels, each a torch operation of its own.
IEEE 754 rounds those alike in vectorised and in scalar code, so a photo has the same pixels in every batch and with every
number of threads; `exp`, `sigmoid` or a fused multiply-add would not.

Units: the image spans [-1, 1] in both directions, y down.  ``(u, v)`` are coordinates on the face turned to the front.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

Tensor = torch.Tensor
Values = dict[str, Tensor]  # parameter by name: numbers (B, 1, 1), colours (B, 3, 1, 1), "texture" (B, G, G)


def step(distance: Tensor, width: float) -> Tensor:
    """Soft mask: 1 where ``distance`` is below 0, 0 above, smooth over ``width``."""
    t = (distance * (-1.0 / width)).add_(0.5).clamp_(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(x: Tensor, y: Tensor) -> Tensor:
    """Smooth hill of height 1 on the unit disc, 0 outside."""
    return (1.0 - (x * x + y * y)).clamp_(min=0.0).square_()


def ridge(x: Tensor) -> Tensor:
    """Smooth hill of height 1 on [-1, 1], 0 outside."""
    return (1.0 - x * x).clamp_(min=0.0).square_()


def paint(image: Tensor, mask: Tensor, colour: Tensor) -> None:
    """Lays ``colour`` (B, 3, 1 or H, 1 or W) over ``image`` (B, 3, H, W) where ``mask`` (B, H, W) is 1."""
    image += mask[:, None] * (colour - image)


@dataclass
class Canvas:
    """Coordinates of every pixel, each (B, H, W).

    ``x, y``: upright image; ``p, q``: the same on the head, whose outline is the unit circle; ``z``: height of that unit
    sphere; ``u, v``: on the face; ``side``: ``|u|`` from the face's own axis; ``sign``: which half.  ``soft`` is the
    width of an edge.
    """

    x: Tensor
    y: Tensor
    p: Tensor
    q: Tensor
    z: Tensor
    u: Tensor
    v: Tensor
    side: Tensor
    sign: Tensor
    texture: Tensor
    soft: float


def _sample(texture: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Bilinear values of ``texture`` (B, G, G), which spans [-1.2, 1.2] squared, at ``u, v`` (B, H, W)."""
    cells = texture.shape[-1]
    column = ((u + 1.2) * ((cells - 1) / 2.4)).clamp_(0.0, cells - 1.001)
    row = ((v + 1.2) * ((cells - 1) / 2.4)).clamp_(0.0, cells - 1.001)
    left, top = column.floor(), row.floor()
    column, row = column - left, row - top
    corner = (top * cells + left).long().flatten(1)
    flat = texture.flatten(1)
    a, b, c, d = (flat.gather(1, corner + offset).view_as(u) for offset in (0, 1, cells, cells + 1))
    upper = a + column * (b - a)
    return upper + row * (c + column * (d - c) - upper)


def pixel_centres(size: int) -> Tensor:
    """(size,) from -1 to 1."""
    return (torch.arange(size, dtype=torch.float32) + 0.5) * (2.0 / size) - 1.0


def place(f: Values, size: int) -> Canvas:
    """Inverse pose: crop, roll, then the head as a sphere turned by yaw and pitch."""
    line = pixel_centres(size)
    x = (line[None, None, :] - f["shift_x"]) * f["zoom"]
    y = (line[None, :, None] - f["shift_y"]) * f["zoom"]
    x, y = x * f["roll_cos"] + y * f["roll_sin"], y * f["roll_cos"] - x * f["roll_sin"]
    # An aligned crop keeps the features in place, so a turn moves the outline the other way.
    head_x = f["yaw_sin"] * f["head_width"] * -0.75
    head_y = f["pitch_sin"] * f["head_height"] * -0.55 - 0.02
    q = (y - head_y) / f["head_height"]
    low = q.clamp(min=0.0)
    width = f["head_width"] * (
        1.0 + f["jaw"] * ridge((q - 0.55) * 2.2) - f["taper"] * low * low + f["temple"] * q.clamp(max=0.0)
    )
    p = (x - head_x) / width
    z = (1.0 - p * p - q * q).clamp_(min=0.0).sqrt_()
    turned = p * f["yaw_cos"] - z * f["yaw_sin"]
    depth = p * f["yaw_sin"] + z * f["yaw_cos"]
    v = (q * f["pitch_cos"] - depth * f["pitch_sin"]) * f["head_height"] - 0.02
    u = turned * f["head_width"] + f["skew"] * v
    sign = torch.where(u > 0, 1.0, -1.0)
    return Canvas(x, y, p, q, z, u, v, u.abs(), sign, _sample(f["texture"], u, v), 3.2 / size)


def blur(image: Tensor, strength: Tensor) -> Tensor:
    """Separable 3-tap blur with side weights ``strength`` (B, 1, 1, 1), 0..0.33; borders repeat."""
    for axis in (2, 3):
        count = image.shape[axis]
        first, last = image.narrow(axis, 0, 1), image.narrow(axis, count - 1, 1)
        before = torch.cat([first, image.narrow(axis, 0, count - 1)], axis)
        after = torch.cat([image.narrow(axis, 1, count - 1), last], axis)
        image = image + strength * ((before - image) + (after - image))
    return image
