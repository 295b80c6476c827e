"""Alignment to the ArcFace template: five landmarks of each photo are moved to where every FR backbone expects them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmark.data.readers.encoded import EncodedFaces
from benchmark.interfaces import FaceVeilError
from benchmark.runtime.unfinished import INCOMPLETE, is_taken

Floats = NDArray[np.float64]
SIZE = 112
# Left eye, right eye, nose tip, left and right corner of the mouth, in pixels (x, y) of a 112 x 112 image.
TEMPLATE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])
COLUMNS = ("path", "x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4", "x5", "y5")


def similarity(source: Floats, target: Floats) -> Floats:
    """The 2 x 3 matrix of rotation, scale and shift that brings ``source`` (5, 2) closest to ``target`` (Umeyama 1991).

    Raises:
        FaceVeilError: the source points coincide.
    """
    mean_s, mean_t = source.mean(0), target.mean(0)
    s, t = source - mean_s, target - mean_t
    spread = float((s**2).sum())
    if spread < 1e-9:
        raise FaceVeilError("the five landmarks coincide")
    u, singular, vt = np.linalg.svd(t.T @ s)
    signs = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = float((singular * signs).sum()) / spread
    return np.concatenate([scale * rotation, (mean_t - scale * rotation @ mean_s)[:, None]], axis=1)


def warp(image: NDArray[np.uint8], landmarks: Floats, size: int = SIZE) -> Image.Image:
    """One photo (H, W, 3) as an aligned ``size`` x ``size`` image, bicubic; outside the photo is black."""
    # Centres of pixels lie at half-integers in Pillow's coordinates; the template counts from pixel centres.
    target = (TEMPLATE + 0.5) * (size / SIZE) - 0.5
    forward = np.vstack([similarity(landmarks, target), [0.0, 0.0, 1.0]])
    to_centre, to_corner = np.eye(3), np.eye(3)
    to_centre[:2, 2], to_corner[:2, 2] = -0.5, 0.5
    backward = np.linalg.inv(to_corner @ forward @ to_centre)
    data = tuple(float(v) for v in backward[:2].ravel())
    return Image.fromarray(image).transform((size, size), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)


def read_landmarks(path: Path) -> dict[str, Floats]:
    """Landmarks (5, 2) by photo from a CSV with the columns path, x1, y1, ... x5, y5 (pixels; path = identity/photo).

    Raises:
        FaceVeilError: columns missing, or a row without ten numbers, which it names.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        missing = [c for c in COLUMNS if c not in (rows.fieldnames or ())]
        if missing:
            raise FaceVeilError(f"{path} lacks the columns {', '.join(missing)}; needed: {', '.join(COLUMNS)}.")
        found = {}
        for number, row in enumerate(rows, start=2):
            try:
                points = np.array([float(row[c]) for c in COLUMNS[1:]]).reshape(5, 2)
            except (TypeError, ValueError):
                raise FaceVeilError(f"{path}, line {number}: x1 .. y5 must be ten numbers.") from None
            if not np.isfinite(points).all():
                raise FaceVeilError(f"{path}, line {number}: a landmark is not finite.")
            found[row["path"]] = points
    return found


def align(
    photos: EncodedFaces, landmarks: dict[str, Floats], out: Path, progress: Callable[[int], None] | None = None
) -> list[tuple[str, str]]:
    """Writes every photo that has landmarks to ``out/identity/photo.png``; returns the others with the reason.

    A folder in which an earlier call was interrupted is written anew.

    Raises:
        FaceVeilError: ``out`` holds something already, or no photo has landmarks.
    """
    if is_taken(out):
        raise FaceVeilError(f"{out} exists and is not empty; choose another --out, or remove it first.")
    if not any(key in landmarks for key in photos.keys):
        example = photos.keys[0]
        raise FaceVeilError(f"no photo has landmarks: the column `path` must hold names such as {example!r}.")
    left_out = []
    out.mkdir(parents=True, exist_ok=True)
    (out / INCOMPLETE).touch()
    for position, key in enumerate(photos.keys):
        if key not in landmarks:
            left_out.append((key, "no landmarks"))
            continue
        try:
            aligned = warp(photos.image(position), landmarks[key])
        except FaceVeilError as error:
            left_out.append((key, str(error)))
            continue
        target = out / PurePosixPath(key).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        aligned.save(target)
        if progress is not None:
            progress(position + 1)
    (out / INCOMPLETE).unlink()
    return left_out
