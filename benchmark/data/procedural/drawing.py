"""Draws procedural faces from the values of :mod:`benchmark.data.procedural.appearance`, batched.

:mod:`benchmark.data.procedural.canvas` says which operations may touch pixels, and in which units.
"""

from __future__ import annotations

import torch

from benchmark.data.procedural.canvas import Canvas, Tensor, Values, blur, bump, paint, pixel_centres, place, ridge, step


def draw_background(f: Values, size: int, batch: int) -> Tensor:
    """(B, 3, H, W): a gradient between two colours with two blurred blobs."""
    line = pixel_centres(size)
    x, y = line[None, None, :], line[None, :, None]
    blend = (0.5 + x * f["gradient_x"] + y * f["gradient_y"]).clamp(0.0, 1.0)[:, None]
    image = f["background_a"] + blend * (f["background_b"] - f["background_a"])
    image = image.expand(batch, 3, size, size).clone()
    for blob in ("blob_a", "blob_b"):
        mask = bump((x - f[f"{blob}_x"]) / f[f"{blob}_r"], (y - f[f"{blob}_y"]) / f[f"{blob}_r"])
        paint(image, mask * f[f"{blob}_strength"], f[f"{blob}_colour"])
    return image


def _nose_axis(f: Values, c: Canvas) -> tuple[Tensor, Tensor]:
    """Distance from the nose's middle line, and the way down it: 0 at the eyes, 1 at the tip.  The tip leads a turn."""
    way = ((c.v - f["eye_y"]) / f["nose_length"]).clamp(0.0, 1.0)
    return c.u - f["nose_x"] - way * f["yaw_sin"] * 0.16, way


def relief(f: Values, c: Canvas) -> Tensor:
    """Height (B, H, W) of the face over the smooth head."""
    across, way = _nose_axis(f, c)
    tip = f["eye_y"] + f["nose_length"]
    end = ((tip + 0.08 - c.v) * 12.0).clamp(0.0, 1.0) * ((c.v - f["eye_y"] + 0.2) * 5.0).clamp(0.0, 1.0)
    slim = f["bridge_width"] + way * way * (f["nose_width"] - f["bridge_width"])
    height = f["nose_height"] * (0.25 + 0.75 * way) * end * ridge(across / (slim * 1.7))
    height += f["tip_height"] * bump(across / f["tip_width"], (c.v - tip) * 12.0)
    height += 0.035 * bump((across.abs() - f["nose_width"]) * 18.0, (c.v - tip - 0.01) * 16.0)
    height += f["brow_ridge"] * bump((c.side - f["eye_x"]) * 4.0, (c.v - f["eye_y"] + 0.16) * 8.0)
    height -= f["socket"] * bump((c.side - f["eye_x"] + 0.05) * 4.6, (c.v - f["eye_y"]) * 6.5)
    height += f["cheekbone"] * bump((c.side - f["cheek_x"]) * 4.2, (c.v - f["cheek_y"]) * 4.5)
    height += f["chin"] * bump(c.u * 4.0, (c.v - 0.79) * 5.5)
    return height + f["muzzle"] * bump(c.u * 3.2, (c.v - f["mouth_y"]) * 5.0)


def lighting(f: Values, c: Canvas, height: Tensor) -> tuple[Tensor, Tensor]:
    """Diffuse light (mostly 0..1.2) and gloss (0..1) of a head with ``height``, each (B, H, W)."""
    slope_x, slope_y = torch.zeros_like(height), torch.zeros_like(height)
    scale = height.shape[-1] / 4.0  # central difference over two pixels of width 2 / size
    slope_x[:, :, 1:-1] = (height[:, :, 2:] - height[:, :, :-2]) * scale
    slope_y[:, 1:-1] = (height[:, 2:] - height[:, :-2]) * scale
    nx, ny, nz = c.p * 0.95 - slope_x, c.q * 0.75 - slope_y, c.z + 0.22
    length = (nx * nx + ny * ny + nz * nz).sqrt_()
    facing = ((nx * f["light_x"] + ny * f["light_y"] + nz * f["light_z"]) / length).clamp_(min=-1.0)
    diffuse = f["ambient"] + (1.0 - f["ambient"]) * facing.clamp(min=0.0) * 1.15
    gloss = ((nx * f["light_x"] + ny * f["light_y"] + nz * (f["light_z"] + 1.0)) / (length * f["half"])).clamp_(min=0.0)
    for _ in range(4):
        gloss = gloss * gloss
    return diffuse, gloss


def draw_body(f: Values, c: Canvas, image: Tensor) -> None:
    """Hair behind the head, neck, shoulders and ears."""
    ragged = c.texture * f["curl"]
    spread = 1.0 + f["hair_volume"] + f["hair_long"] * 0.16
    top = (c.q - 0.02).clamp(max=0.0)
    outline = (c.p * c.p / (spread * spread) + top * top / ((1.0 + f["hair_volume"]) * (1.0 + f["hair_volume"])) - 1.0) * 0.35
    back = step(outline + ragged, c.soft * 2.0) * step(c.v - f["hair_end"] + ragged, 0.12) * f["hair_any"]
    neck = step(c.x.abs() - f["neck_width"], c.soft) * step(0.35 - c.y, 0.1)
    shadow = 0.45 + 0.25 * ((c.y - 0.7) * 2.0).clamp(0.0, 1.0)
    cloth = step(f["shoulder"] + c.x * c.x * 0.35 - c.y, c.soft)
    ear = bump((c.p.abs() - 1.0) / f["ear_width"], (c.v - 0.06) / f["ear_height"])
    paint(image, back, f["hair_colour"] * (0.62 * f["exposure"])[:, None])
    paint(image, neck, f["skin"] * (shadow * f["exposure"])[:, None])
    paint(image, cloth, f["cloth"] * f["exposure"][:, None])
    shell = 0.81 - 0.42 * bump((c.p.abs() - 1.02) / f["ear_width"] * 2.2, (c.v - 0.06) / f["ear_height"] * 1.8)
    paint(image, (ear * 4.0).clamp_(max=1.0), f["skin"] * (shell * f["exposure"])[:, None])


def draw_skin(f: Values, c: Canvas) -> Tensor:
    """Albedo (B, 3, H, W) of the bare face: tone, blotches, freckles, moles, folds, hollows."""
    across, _ = _nose_axis(f, c)
    tip = f["eye_y"] + f["nose_length"]
    tone = 1.0 + f["blotch"] * c.texture
    fold_way = ((c.v - tip + 0.02) / (f["mouth_y"] - tip + 0.05)).clamp(0.0, 1.0)
    fold_at = f["nose_width"] + 0.045 + fold_way * (f["mouth_width"] + 0.03 - f["nose_width"])
    tone -= f["fold"] * ridge((c.side - fold_at) * 22.0) * (4.0 * fold_way * (1.0 - fold_way))
    tone -= f["eye_bag"] * bump((c.side - f["eye_x"]) * 6.5, (c.v - f["eye_y"] - 0.11) * 15.0)
    tone -= 0.22 * bump((c.side - f["eye_x"] + 0.02) * 4.8, (c.v - f["eye_y"] + 0.03) * 8.0)
    tone -= 0.30 * bump(across / (f["nose_width"] * 1.7), (c.v - tip - 0.09) * 14.0)
    tone -= f["nostril"] * bump((across.abs() - f["nose_width"] * 0.55) * 26.0, (c.v - tip - 0.035) * 34.0)
    tone -= 0.14 * bump(c.u * 5.5, (c.v - f["mouth_y"] - f["lower_lip"] - 0.07) * 16.0)
    tone -= f["wrinkle"] * ridge((c.v - f["eye_y"] + 0.42 + c.u * c.u * 0.3) * 30.0) * ridge(c.u * 2.2)
    tone -= f["wrinkle"] * ridge((c.v - f["eye_y"] + 0.33 + c.u * c.u * 0.3) * 30.0) * ridge(c.u * 2.6)
    for mole in ("mole_a", "mole_b", "mole_c"):
        spot = bump((c.u - f[f"{mole}_x"]) / f[f"{mole}_r"], (c.v - f[f"{mole}_y"]) / f[f"{mole}_r"])
        tone -= f[f"{mole}_dark"] * spot
    freckles = f["freckles"] * (c.texture - 0.5).clamp_(0.0, 1.0) * bump(c.u * 1.7, (c.v - 0.12) * 3.4)
    blush = f["blush"] * (bump((c.side - 0.38) * 4.0, (c.v - 0.22) * 4.0) + 0.5 * bump(across * 8.0, (c.v - tip) * 9.0))
    albedo = f["skin"] * (tone.clamp_(min=0.08))[:, None]
    green = 1.0 - blush - freckles * 0.35
    albedo[:, 0] *= 1.0 - freckles * 0.18
    albedo[:, 1] *= green
    albedo[:, 2] *= green - freckles * 0.1
    return albedo


def draw_eyes(f: Values, c: Canvas, albedo: Tensor) -> None:
    """Crease, white, iris, pupil, lashes and brows; both sides at once by mirroring."""
    level = f["eye_y"] + c.sign * f["eye_uneven"]
    along = c.side - f["eye_x"]
    y = c.v - level + along * f["eye_slant"]
    arch = (1.0 - (along / f["eye_width"]).square()).clamp_(min=0.0)
    lid = f["eye_open"] * (arch + f["eye_round"] * (arch.sqrt() - arch))
    upper, lower = -lid, lid * 0.62
    inside = step(torch.maximum(upper - y, y - lower), c.soft * 0.8) * step(along.abs() - f["eye_width"], c.soft)
    near = step(along.abs() - f["eye_width"] * 1.05, c.soft)
    crease = ridge((y - upper + f["crease_gap"] * (0.4 + 0.6 * arch)) * 30.0) * near
    lash = ridge((y - upper) / f["lash"]) * near
    lower_rim = ridge((y - lower) * 34.0) * near
    iris_x, iris_y = along - c.sign * f["gaze_x"], y + f["eye_open"] * 0.22 - f["gaze_y"]
    radius = (iris_x * iris_x + iris_y * iris_y).sqrt_()
    shadow = (0.62 + 0.38 * ((y - upper) / (f["eye_open"] * 0.9)).clamp(0.0, 1.0))[:, None]
    paint(albedo, crease * f["crease"], f["skin"] * 0.5)
    paint(albedo, lower_rim * 0.25, f["skin"] * 0.45)
    paint(albedo, inside, f["eye_white"] * shadow)
    paint(albedo, inside * step(radius - f["iris"], c.soft), f["iris_colour"] * shadow)
    paint(albedo, inside * step(radius - f["iris"] * 0.45, c.soft), torch.full_like(f["skin"], 0.03))
    glint = bump((iris_x + f["light_x"] * -0.02 + 0.005) * 45.0, (iris_y + 0.018) * 45.0)
    paint(albedo, inside * glint * 0.9, torch.full_like(f["skin"], 1.0))
    paint(albedo, lash * 0.85, f["lash_colour"])
    brow_x = (c.side - f["eye_x"] - f["brow_out"]) / f["brow_length"]
    brow_y = c.v - level + f["brow_gap"] + f["brow_slant"] * brow_x * 0.1 - f["brow_arch"] * (brow_x - 0.25).square()
    brow_y = brow_y - f["brow_frown"] * (brow_x * -0.5 + 0.3).clamp(min=0.0)
    thick = f["brow_thick"] * (1.0 - 0.45 * brow_x.clamp(-1.0, 1.0))
    brow = step(brow_y.abs() - thick, c.soft * 1.1) * step(brow_x.abs() - 1.0, 0.35)
    paint(albedo, brow * f["brow_dark"], f["brow_colour"])


def draw_mouth(f: Values, c: Canvas, albedo: Tensor) -> None:
    """Lips, their parting line, and teeth where the mouth is open."""
    width = f["mouth_width"] * (1.0 + 0.16 * f["smile"])
    a = (c.u - f["mouth_x"]) / width
    arch = (1.0 - a * a).clamp_(min=0.0)
    line = f["mouth_y"] + f["mouth_tilt"] * a - (f["smile"] * 0.05 + f["mouth_corner"]) * (a * a).clamp(max=1.3)
    gap = f["mouth_open"] * arch
    top = line - gap * 0.5 - f["upper_lip"] * arch * (1.0 - f["cupid"] * ridge(a * 5.0))
    bottom = line + gap * 0.9 + f["lower_lip"] * arch.sqrt() * (0.35 + 0.65 * arch)
    ends = step(a.abs() - 1.0, 0.12)
    upper = step(torch.maximum(top - c.v, c.v - line), c.soft) * ends
    lower = step(torch.maximum(line - c.v, c.v - bottom), c.soft) * ends
    hole = step(torch.maximum(line - gap * 0.5 - c.v, c.v - line - gap * 0.9), c.soft * 0.7) * ends * f["mouth_any"]
    paint(albedo, lower, f["lip"] * 1.08)
    paint(albedo, upper, f["lip"] * 0.86)
    paint(albedo, hole, torch.full_like(f["skin"], 0.12))
    teeth = hole * step(c.v - line - gap * 0.35, c.soft) * step(a.abs() - 0.8, 0.25)
    paint(albedo, teeth * 0.9, f["teeth"])
    parting = ridge((c.v - line) * 28.0) * step(a.abs() - 1.06, 0.1) * (1.0 - f["mouth_any"])
    paint(albedo, parting * 0.75, f["lip"] * 0.35)


def draw_beard(f: Values, c: Canvas, albedo: Tensor) -> None:
    """Beard on jaw and chin, moustache under the nose; the lips stay free."""
    edge = f["beard_line"] + 0.40 - c.side * c.side * f["beard_slope"]
    jaw = step(edge - c.v + c.texture * 0.03, 0.12)
    tip = f["eye_y"] + f["nose_length"]
    under = (f["mouth_y"] + tip + 0.05) * 0.5
    lip = bump(c.u / (f["mouth_width"] * 1.35), (c.v - under) * 9.0)
    lips = bump((c.u - f["mouth_x"]) / (f["mouth_width"] * 1.25), (c.v - f["mouth_y"] - 0.01) * 9.0)
    mask = jaw * (1.0 - (lips * 2.2).clamp_(max=1.0)) * f["beard"] + lip.clamp_(max=0.6) * 1.6 * f["moustache"]
    paint(albedo, (mask * (1.0 + 0.25 * c.texture)).clamp_(0.0, 0.96), f["brow_colour"])


def draw_hair(f: Values, c: Canvas, image: Tensor, diffuse: Tensor) -> None:
    """Hair on the head: everything above the hairline, over the temples and down the sides."""
    ragged = c.texture * (f["curl"] * 1.2 + 0.008)
    parted = c.u - f["part_x"]
    line = f["hairline"] + f["hairline_curve"] * parted * parted + f["fringe"] * ridge(parted * 1.9) + f["sweep"] * parted
    temple = f["temple_x"] - 0.10 * ((c.v + 0.5) * 1.4).clamp(0.0, 1.0) * f["hair_long"]
    front = c.v - line + ragged
    sides = torch.maximum(temple - c.side, c.v - f["sideburn"]) + 0.35 * ragged
    share = (0.5 + (sides - front) * 4.0).clamp_(0.0, 1.0)
    below = sides + share * (front - sides) - 0.125 * share * (1.0 - share)  # the lower of both, with a rounded corner
    volume = 1.0 + f["hair_volume"] + f["hair_top"] * (-c.q).clamp(min=0.0)
    outline = ((c.p * c.p + c.q * c.q) / (volume * volume) - 1.0) * 0.4 + ragged * 0.7
    mask = step(below, c.soft * 2.2) * step(outline, c.soft * 1.6) * f["hair_any"]
    wave = parted * f["strand"] * (1.4 - 0.5 * c.q) + c.v * f["strand_slant"] * 4.0 + c.texture * 0.35
    strand = (wave - wave.floor() - 0.5).abs() * 2.0
    sheen = ridge((c.q + 0.62 + f["light_x"] * 0.2 * c.p) * 3.2) * f["sheen"]
    light = (diffuse * 0.85 + 0.05) * (0.8 + 0.25 * strand) * (1.0 + 0.16 * c.texture) + sheen * diffuse
    paint(image, mask, f["hair_colour"] * (light * f["exposure"])[:, None])


def draw_glasses(f: Values, c: Canvas, image: Tensor) -> None:
    """Two rims of between round and square, the bridge and the arms."""
    along = (c.side - f["eye_x"]) / f["glass_width"]
    y = (c.v - f["eye_y"] - 0.03) / f["glass_height"]
    a2, y2 = along * along, y * y
    round_one, square_one = (a2 + y2).sqrt(), (a2 * a2 + y2 * y2).sqrt().sqrt()
    distance = (round_one + f["glass_square"] * (square_one - round_one) - 1.0) * f["glass_height"]
    rim = step(distance.abs() - f["glass_rim"], c.soft * 0.9)
    bar = step((c.v - f["eye_y"]).abs() - f["glass_rim"], c.soft) * step(-distance, c.soft)
    mask = torch.maximum(rim, bar * step(c.p.abs() - 1.0, 0.04))
    paint(image, mask * f["glasses"], f["glass_colour"])
    glare = step(distance, c.soft) * step((along * 0.6 + y + 0.35).abs() - 0.12, 0.25) * f["glare"]
    paint(image, glare * f["glasses"], torch.full_like(f["skin"], 0.92))


def draw(f: Values, size: int, batch: int) -> Tensor:
    """Photos as linear-ish RGB, float (B, 3, size, size), before the camera's noise."""
    c = place(f, size)
    image = draw_background(f, size, batch)
    draw_body(f, c, image)
    diffuse, gloss = lighting(f, c, relief(f, c))
    albedo = draw_skin(f, c)
    draw_mouth(f, c, albedo)
    draw_beard(f, c, albedo)
    draw_eyes(f, c, albedo)
    face = albedo * (diffuse * f["exposure"])[:, None] + (gloss * f["gloss"])[:, None]
    head = step(((c.p * c.p + c.q * c.q).sqrt_() - 1.0) * 0.75, c.soft)
    paint(image, head, face)
    draw_hair(f, c, image, diffuse)
    draw_glasses(f, c, image)
    image = image * f["white_balance"]
    for _ in range(2):
        image = blur(image, f["blur"][:, None])
    return image
