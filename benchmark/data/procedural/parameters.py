"""Who a procedural face is and how it was photographed: named random numbers, and the two constants of difficulty."""

from __future__ import annotations

import numpy as np

from benchmark.data.procedural.counter_hash import Stream, keys, normals

IDENTITY_SPREAD = 1.0  # scales how much people differ
NUISANCE_SPREAD = 0.9  # scales how much photos of one person differ: pose, light, expression, scene, camera

_COARSE, _FINE = 7, 28  # cells a side of the two octaves of the skin's texture

# Face geometry and surface: (mean, standard deviation); lengths in half image widths.  `draw` documents the coordinates.
IDENTITY = {
    "head_width": (0.70, 0.032),
    "head_height": (0.94, 0.030),
    "jaw": (0.075, 0.040),
    "taper": (0.15, 0.055),
    "temple": (0.03, 0.035),
    "skew": (0.0, 0.012),
    "eye_x": (0.315, 0.018),
    "eye_y": (-0.10, 0.018),
    "eye_uneven": (0.0, 0.007),
    "eye_width": (0.135, 0.011),
    "eye_open": (0.060, 0.010),
    "eye_round": (0.35, 0.25),
    "eye_slant": (0.04, 0.085),
    "iris": (0.056, 0.0035),
    "crease": (0.40, 0.20),
    "crease_gap": (0.034, 0.009),
    "lash": (0.026, 0.006),
    "brow_gap": (0.155, 0.017),
    "brow_out": (0.015, 0.014),
    "brow_length": (0.180, 0.018),
    "brow_thick": (0.027, 0.0075),
    "brow_slant": (0.12, 0.20),
    "brow_arch": (0.026, 0.014),
    "brow_dark": (0.72, 0.14),
    "brow_ridge": (0.024, 0.014),
    "socket": (0.055, 0.014),
    "nose_length": (0.335, 0.030),
    "nose_width": (0.105, 0.013),
    "bridge_width": (0.052, 0.009),
    "nose_height": (0.075, 0.017),
    "nose_x": (0.0, 0.007),
    "tip_height": (0.030, 0.012),
    "tip_width": (0.085, 0.015),
    "nostril": (0.55, 0.15),
    "mouth_x": (0.0, 0.008),
    "mouth_y": (0.49, 0.025),
    "mouth_width": (0.215, 0.022),
    "mouth_tilt": (0.0, 0.006),
    "mouth_corner": (0.0, 0.012),
    "upper_lip": (0.048, 0.012),
    "lower_lip": (0.070, 0.014),
    "cupid": (0.35, 0.18),
    "muzzle": (0.030, 0.014),
    "cheekbone": (0.030, 0.018),
    "cheek_x": (0.40, 0.030),
    "cheek_y": (0.14, 0.035),
    "chin": (0.032, 0.018),
    "fold": (0.10, 0.09),
    "eye_bag": (0.10, 0.09),
    "wrinkle": (0.02, 0.06),
    "blotch": (0.030, 0.014),
    "freckles": (-0.20, 0.55),
    "blush": (0.08, 0.05),
    "neck_width": (0.40, 0.05),
    "ear_width": (0.13, 0.035),
    "ear_height": (0.20, 0.022),
    "hairline": (-0.60, 0.060),
    "hairline_curve": (0.45, 0.25),
    "fringe": (0.0, 0.10),
    "part_x": (0.0, 0.22),
    "sweep": (0.0, 0.10),
    "temple_x": (0.615, 0.035),
    "sideburn": (0.13, 0.09),
    "hair_volume": (0.075, 0.035),
    "hair_top": (0.06, 0.05),
    "curl": (0.008, 0.020),
    "strand": (7.0, 2.2),
    "strand_slant": (0.0, 0.6),
    "sheen": (0.10, 0.06),
    "beard_line": (0.10, 0.08),
    "beard_slope": (1.9, 0.5),
    "glass_width": (0.215, 0.018),
    "glass_height": (0.135, 0.020),
    "glass_rim": (0.012, 0.006),
    # Without a unit; turned into colours, shares and styles below.
    "melanin": (0.0, 1.0),
    "redness": (0.0, 1.0),
    "yellowness": (0.0, 1.0),
    "hair_dark": (0.0, 1.0),
    "hair_warm": (0.0, 1.0),
    "age": (0.0, 1.0),
    "masculine": (0.0, 1.0),
    "beard_kind": (0.0, 1.0),
    "moustache_kind": (0.0, 1.0),
    "length_kind": (0.0, 1.0),
    "bald_kind": (0.0, 1.0),
    "glasses_kind": (0.0, 1.0),
    "glass_square": (0.0, 1.0),
    "glass_tone": (0.0, 1.0),
    "iris_dark": (0.0, 1.0),
    "iris_hue": (0.0, 1.0),
    "lip_red": (0.0, 1.0),
    **{f"mole_{m}_{k}": (0.0, 1.0) for m in "abc" for k in ("x", "y", "r", "dark")},
}

# What differs from photo to photo, around 0; how much is said by the domain that photos are drawn in.
PHOTO = (
    "yaw",
    "pitch",
    "roll",
    "shift_x",
    "shift_y",
    "zoom",
    "light_side",
    "light_up",
    "light_front",
    "ambient",
    "exposure",
    "contrast",
    "warm",
    "tint",
    "smile",
    "open",
    "lids",
    "brows",
    "frown",
    "gaze_x",
    "gaze_y",
    "hair_move",
    "hair_lift",
    "fringe_move",
    "stubble",
    "glasses_on",
    "make_up",
    "blush_on",
    "back_a_tone",
    "back_a_warm",
    "back_a_green",
    "back_b_tone",
    "back_b_warm",
    "back_b_green",
    "gradient_x",
    "gradient_y",
    "blob_a_x",
    "blob_a_y",
    "blob_a_r",
    "blob_a_tone",
    "blob_a_warm",
    "blob_a_strength",
    "blob_b_x",
    "blob_b_y",
    "blob_b_r",
    "blob_b_tone",
    "blob_b_warm",
    "blob_b_strength",
    "cloth_tone",
    "cloth_warm",
    "cloth_green",
    "shoulder",
    "blur",
    "noise",
    "glare",
)

Numbers = dict[str, np.ndarray]


def _texture(key: np.ndarray) -> np.ndarray:
    """(N, fine, fine) skin texture: a coarse octave, interpolated, and a fine one; variance about 1."""
    cells = normals(key, _COARSE**2 + _FINE**2)
    coarse = cells[:, : _COARSE**2].reshape(-1, _COARSE, _COARSE)
    fine = cells[:, _COARSE**2 :].reshape(-1, _FINE, _FINE)
    at = np.linspace(0, _COARSE - 1, _FINE)
    left = np.minimum(at.astype(int), _COARSE - 2)
    share = at - left
    rows = coarse[:, left] * (1 - share)[None, :, None] + coarse[:, left + 1] * share[None, :, None]
    smooth = rows[:, :, left] * (1 - share) + rows[:, :, left + 1] * share
    result: np.ndarray = smooth + 0.6 * fine
    return result


def identity_numbers(seed: int, identity: np.ndarray) -> Numbers:
    """Identity parameters by name, each (N,), and ``texture`` (N, G, G)."""
    whole = np.zeros_like(identity)
    drawn = normals(keys(seed, Stream.IDENTITY, identity, whole), len(IDENTITY)) * IDENTITY_SPREAD
    numbers = {name: mean + spread * drawn[:, i] for i, (name, (mean, spread)) in enumerate(IDENTITY.items())}
    return numbers | {"texture": _texture(keys(seed, Stream.TEXTURE, identity, whole))}


def photo_numbers(seed: int, identity: np.ndarray, photo: np.ndarray, spread: np.ndarray) -> Numbers:
    """Nuisance numbers by name, each (N,), normal with the standard deviations ``spread`` (len(PHOTO),)."""
    drawn = normals(keys(seed, Stream.PHOTO, identity, photo), len(PHOTO)) * spread
    return {name: drawn[:, column] for column, name in enumerate(PHOTO)}
