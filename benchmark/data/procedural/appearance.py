"""Turns the random numbers of a face and a photo into what is drawn: shapes, colours, pose, light, expression, scene."""

from __future__ import annotations

import numpy as np
import torch

from benchmark.data.procedural.parameters import Numbers, identity_numbers, photo_numbers


def _squash(x: np.ndarray) -> np.ndarray:
    """A normal number as a share in 0..1."""
    return 1.0 / (1.0 + np.exp(-1.702 * x))


def _between(a: tuple[float, ...], b: tuple[float, ...], share: np.ndarray) -> np.ndarray:
    """(N, 3) colours."""
    result: np.ndarray = np.asarray(a) + share[:, None] * (np.asarray(b) - np.asarray(a))
    return result


def _tone(tone: np.ndarray, warm: np.ndarray, green: np.ndarray) -> np.ndarray:
    """(N, 3) colour of any hue from three normal numbers."""
    level = 0.08 + 0.8 * _squash(tone)
    hue = np.stack([0.14 * warm, 0.08 * green, -0.14 * warm], axis=1)
    return np.clip(level[:, None] * (1.0 + hue), 0.02, 1.0)


def _style(n: Numbers) -> Numbers:
    """Colours (N, 3) and styles of a person, in place of the numbers without a unit."""
    man = _squash(3.0 * n["masculine"])
    old = np.clip(n["age"], 0.0, None)
    melanin = np.clip(0.42 + 0.25 * n["melanin"], 0.02, 1.0)
    skin = _between((0.96, 0.78, 0.67), (0.34, 0.215, 0.15), melanin)
    skin *= 1.0 + np.stack([0.02 * n["redness"], -0.025 * n["redness"], -0.03 * n["redness"] - 0.06 * n["yellowness"]], axis=1)
    blond = np.clip(_squash(n["hair_dark"] - 0.9) * (1.25 - 1.3 * melanin), 0.0, 1.0)
    hair = _between((0.085, 0.065, 0.055), (0.72, 0.54, 0.33), blond)
    hair *= 1.0 + np.stack([0.16 * n["hair_warm"] * (0.3 + blond), 0.0 * blond, -0.10 * n["hair_warm"]], axis=1)
    grey = np.clip((n["age"] - 0.8) * 0.8, 0.0, 0.9)[:, None]
    hair = np.clip(hair + grey * (np.array((0.62, 0.61, 0.60)) - hair), 0.02, 1.0)
    iris = _between((0.46, 0.55, 0.60), (0.16, 0.09, 0.05), np.clip(_squash(n["iris_dark"]) + 0.6 * melanin, 0.0, 1.0))
    iris *= 1.0 + np.stack([0.12 * n["iris_hue"], 0.10 * n["iris_hue"], -0.14 * n["iris_hue"]], axis=1)
    lip = skin * _between((0.93, 0.70, 0.68), (0.84, 0.50, 0.52), np.clip(0.35 + 0.3 * n["lip_red"], 0.0, 1.0))
    bald = man * _squash(4.0 * (n["bald_kind"] + 0.6 * n["age"] - 1.9))
    long = (1.0 - man * 0.9) * _squash(3.0 * (n["length_kind"] + 0.3))
    return {
        "skin": np.clip(skin, 0.05, 1.0),
        "hair_colour": hair,
        "brow_colour": np.clip(0.75 * hair + 0.08 * skin, 0.02, 1.0),
        "iris_colour": np.clip(iris, 0.03, 1.0),
        "lip": np.clip(lip, 0.03, 1.0),
        "glass_colour": _between((0.05, 0.05, 0.06), (0.45, 0.28, 0.18), np.clip(n["glass_tone"] - 0.4, 0.0, 1.0)),
        "hair_any": 1.0 - np.clip(bald * 1.3 - 0.15, 0.0, 1.0),
        "hair_long": long,
        "hair_end": -0.05 + 1.2 * long,
        "sideburn": n["sideburn"] + 0.75 * long,
        "hairline": n["hairline"] - 0.10 * man * old - 0.06 * bald,
        "beard": np.clip(man * (n["beard_kind"] * 0.55 + 0.05), 0.0, 0.95),
        "moustache": np.clip(man * (n["moustache_kind"] * 0.35 + 0.35 * n["beard_kind"]), 0.0, 0.95),
        "glass_square": np.clip(0.5 + 0.5 * n["glass_square"], 0.0, 1.0),
        "wrinkle": np.clip(n["wrinkle"] + 0.08 * old, 0.0, 0.4),
        "fold": np.clip(n["fold"] + 0.07 * n["age"], 0.0, 0.5),
        "brow_thick": np.clip(n["brow_thick"] + 0.005 * (man - 0.5), 0.010, 0.06),
        "jaw": n["jaw"] + 0.03 * (man - 0.5),
        "lash": np.clip(n["lash"] - 0.006 * (man - 0.5), 0.012, 0.05),
    }


def _moles(n: Numbers) -> Numbers:
    """Up to three moles in the middle of the face."""
    moles = {}
    for m in "abc":
        moles[f"mole_{m}_x"] = 0.30 * n[f"mole_{m}_x"]
        moles[f"mole_{m}_y"] = 0.20 + 0.32 * n[f"mole_{m}_y"]
        moles[f"mole_{m}_r"] = np.clip(0.028 + 0.010 * n[f"mole_{m}_r"], 0.012, 0.06)
        moles[f"mole_{m}_dark"] = np.clip(0.45 * n[f"mole_{m}_dark"] - 0.25, 0.0, 0.8)
    return moles


def _pose(t: Numbers) -> Numbers:
    yaw, pitch, roll = 0.24 * t["yaw"], 0.12 * t["pitch"], 0.045 * t["roll"]
    turns = {"yaw": yaw, "pitch": pitch, "roll": roll}
    return {
        **{f"{name}_sin": np.sin(angle) for name, angle in turns.items()},
        **{f"{name}_cos": np.cos(angle) for name, angle in turns.items()},
        "shift_x": 0.022 * t["shift_x"],
        "shift_y": 0.022 * t["shift_y"],
        "zoom": 1.05 * (1.0 + 0.03 * t["zoom"]),
    }


def _light(t: Numbers) -> Numbers:
    """A lamp, mostly from above in front, with strength and colour."""
    light = np.stack([0.62 * t["light_side"], -0.35 + 0.33 * t["light_up"], 0.95 + 0.10 * t["light_front"]], axis=1)
    light /= np.linalg.norm(light, axis=1, keepdims=True)
    level = 1.04 * np.exp(0.15 * t["exposure"])
    warm, tint = 0.055 * t["warm"], 0.02 * t["tint"]
    return {
        "light_x": light[:, 0],
        "light_y": light[:, 1],
        "light_z": light[:, 2],
        "half": np.sqrt(2.0 + 2.0 * light[:, 2]),
        "ambient": np.clip(0.42 + 0.10 * t["ambient"], 0.15, 0.75),
        "exposure": level,
        "white_balance": np.stack([1.0 + warm, 1.0 + tint, 1.0 - warm], axis=1),
        "contrast": np.exp(0.10 * t["contrast"]),
    }


def _expression(n: Numbers, t: Numbers) -> Numbers:
    opening = np.clip(0.05 * t["open"] + 0.012 * t["smile"] - 0.015, 0.0, 0.14)
    squint = 1.0 + 0.13 * t["lids"] - 0.06 * t["smile"]
    return {
        "smile": np.clip(0.25 + 0.6 * t["smile"], -0.8, 2.0),
        "mouth_open": opening,
        "mouth_any": np.clip(opening * 60.0, 0.0, 1.0),
        "eye_open": np.clip(n["eye_open"] * squint, 0.022, 0.11),
        "brow_gap": n["brow_gap"] + 0.012 * t["brows"] + 0.006 * t["lids"],
        "brow_frown": 0.018 * t["frown"],
        "gaze_x": 0.016 * t["gaze_x"],
        "gaze_y": 0.006 * t["gaze_y"],
        "fold": np.clip(n["fold"], 0.0, None) + 0.06 * np.clip(t["smile"], 0.0, None),
        "teeth": np.tile((0.92, 0.89, 0.83), (len(opening), 1)),
    }


def _scene(t: Numbers) -> Numbers:
    """Background, clothing, camera."""
    scene = {
        "background_a": _tone(t["back_a_tone"], t["back_a_warm"], t["back_a_green"]),
        "background_b": _tone(t["back_b_tone"], t["back_b_warm"], t["back_b_green"]),
        "cloth": _tone(t["cloth_tone"] - 0.5, 1.5 * t["cloth_warm"], t["cloth_green"]),
        "gradient_x": 0.35 * t["gradient_x"],
        "gradient_y": 0.35 * t["gradient_y"],
        "shoulder": 0.84 + 0.05 * t["shoulder"],
        "blur": np.clip(0.07 + 0.07 * t["blur"], 0.0, 0.3),
        "noise": np.clip(0.014 + 0.006 * t["noise"], 0.003, 0.04),
        "glare": np.clip(0.12 * t["glare"], 0.0, 0.3),
    }
    for blob in ("blob_a", "blob_b"):
        scene[f"{blob}_x"], scene[f"{blob}_y"] = 0.9 * t[f"{blob}_x"], 0.9 * t[f"{blob}_y"]
        scene[f"{blob}_r"] = 0.45 * np.exp(0.4 * t[f"{blob}_r"])
        scene[f"{blob}_strength"] = _squash(t[f"{blob}_strength"]) * 0.9
        scene[f"{blob}_colour"] = _tone(t[f"{blob}_tone"], t[f"{blob}_warm"], -t[f"{blob}_warm"])
    return scene


def _positive(n: Numbers) -> Numbers:
    """Bounds that keep every drawn shape possible."""
    least = {
        "iris": 0.04, "eye_width": 0.09, "crease": 0.0, "brow_length": 0.11, "brow_ridge": 0.0, "socket": 0.01,
        "nose_width": 0.065, "bridge_width": 0.025, "nose_height": 0.03, "tip_height": 0.0, "tip_width": 0.04,
        "mouth_width": 0.14, "upper_lip": 0.012, "lower_lip": 0.025, "cupid": 0.0, "muzzle": 0.0, "cheekbone": 0.0,
        "chin": 0.0, "eye_bag": 0.0, "blotch": 0.0, "freckles": 0.0, "blush": 0.0, "ear_width": 0.05, "curl": 0.0,
        "hair_volume": 0.015, "hair_top": 0.0, "strand": 2.0, "sheen": 0.0, "beard_slope": 0.3, "glass_rim": 0.007,
        "glass_height": 0.08, "taper": 0.0, "nostril": 0.2, "brow_dark": 0.25, "eye_round": 0.0,
    }  # fmt: skip
    return {name: np.maximum(n[name], value) for name, value in least.items()}


def face_values(seed: int, identity: np.ndarray, photo: np.ndarray, spread: np.ndarray) -> dict[str, torch.Tensor]:
    """Everything that :func:`benchmark.data.procedural.drawing.draw` reads, float32, shaped to broadcast over (B, H, W).

    Args:
        spread: (len(PHOTO),) standard deviations of the nuisances.
    """
    n = identity_numbers(seed, identity)
    t = photo_numbers(seed, identity, photo, spread)
    n |= _style(n) | _moles(n)
    n |= _positive(n)
    n |= _expression(n, t) | _pose(t) | _light(t) | _scene(t)
    n["hair_volume"] = np.maximum(n["hair_volume"] + 0.012 * t["hair_lift"], 0.01)
    n["part_x"] = n["part_x"] + 0.04 * t["hair_move"]
    n["fringe"] = n["fringe"] + 0.03 * t["fringe_move"]
    n["beard"] = np.clip(n["beard"] * (1.0 + 0.15 * t["stubble"]), 0.0, 0.95)
    n["glasses"] = (n["glasses_kind"] + 0.45 * t["glasses_on"] > 1.0).astype(float)
    n["lip"] = n["lip"] * (1.0 + 0.05 * t["make_up"])[:, None]
    n["blush"] = n["blush"] * (1.0 + 0.3 * np.clip(t["blush_on"], -2.0, 2.0))
    n["eye_white"] = np.tile((0.93, 0.91, 0.89), (len(identity), 1))
    n["lash_colour"] = n["brow_colour"] * 0.45
    n["gloss"] = np.full(len(identity), 0.16)
    return {name: _shaped(value) for name, value in n.items()}


def _shaped(value: np.ndarray) -> torch.Tensor:
    """Numbers (B, 1, 1), colours (B, 3, 1, 1), textures as they are."""
    shapes = {1: (-1, 1, 1), 2: (-1, 3, 1, 1), 3: value.shape}
    return torch.from_numpy(np.ascontiguousarray(value, np.float32)).reshape(shapes[value.ndim])
