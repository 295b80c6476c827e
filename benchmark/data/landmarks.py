"""Five landmarks of faces, found by MTCNN of the package facenet-pytorch, whose weights come with it: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmark.data.readers.encoded import EncodedFaces
from benchmark.interfaces import FaceVeilError

Floats = NDArray[np.float64]
Several = Literal["skip", "largest", "central"]
CONFIDENCE = 0.9  # of a face; below it, patterns and blurred bystanders are found
MARGIN = 0.4  # of the longer side, added around photos: faces that fill a photo are found too
SIDE = 320  # photos are brought to about this size for the detector: smaller ones hide faces, larger ones take longer


@dataclass(frozen=True)
class Face:
    """A face in a photo: its box (x1, y1, x2, y2) and five landmarks (5, 2) in pixels, and the detector's confidence."""

    box: Floats
    points: Floats
    confidence: float

    @property
    def area(self) -> float:
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


class Detector(Protocol):
    """Anything that finds faces in a photo (H, W, 3), uint8 RGB."""

    def __call__(self, photo: NDArray[np.uint8]) -> list[Face]: ...


class Mtcnn:
    """MTCNN (Zhang et al. 2016, arXiv 1604.02878) as facenet-pytorch has it, on the CPU.

    Raises:
        FaceVeilError: the package is not installed; says how to install it.
    """

    def __init__(self) -> None:
        try:
            from facenet_pytorch import MTCNN
        except ImportError:
            raise FaceVeilError(
                "finding landmarks needs the package facenet-pytorch, which brings its weights along. It asks for an old torch "
                "but works with this one: pip install --no-deps facenet-pytorch. Or give landmarks with --landmarks."
            ) from None
        self._model: Any = MTCNN(keep_all=True, device="cpu", post_process=False, min_face_size=20)

    def __call__(self, photo: NDArray[np.uint8]) -> list[Face]:
        from PIL import Image

        height, width = photo.shape[:2]
        pad = round(MARGIN * max(height, width))
        framed = np.pad(photo, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
        scale = SIDE / min(framed.shape[:2])
        size = (max(1, round(scale * framed.shape[1])), max(1, round(scale * framed.shape[0])))
        boxes, confidence, points = self._model.detect(Image.fromarray(framed).resize(size), landmarks=True)
        if boxes is None:
            return []
        return [
            Face(np.asarray(b, np.float64) / scale - pad, np.asarray(p, np.float64) / scale - pad, float(c))
            for b, c, p in zip(boxes, confidence, points, strict=True)
            if c is not None and c >= CONFIDENCE
        ]


def find_landmarks(
    photos: EncodedFaces,
    detector: Detector,
    *,
    several: Several = "skip",
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, Floats], list[tuple[str, str]]]:
    """Landmarks (5, 2) by photo, and the photos without, with the reason.

    Photos are upright here: the reader has turned them as their EXIF orientation says.

    Args:
        several: what to do with a photo of several faces, where it is unclear whose it is: ``skip`` it, or take the ``largest``
            or the most ``central`` one.
    """
    found, left_out = {}, []
    for position, key in enumerate(photos.keys):
        photo = photos.image(position)
        faces = detector(photo)
        if not faces:
            left_out.append((key, "no face found"))
        elif len(faces) > 1 and several == "skip":
            left_out.append((key, f"{len(faces)} faces found, so it is unclear whose photo it is"))
        else:
            found[key] = chosen(faces, photo.shape[:2], several).points
        if progress is not None:
            progress(position + 1)
    return found, left_out


def chosen(faces: list[Face], shape: tuple[int, ...], several: Several) -> Face:
    """The largest face, or the one nearest to the centre of a photo of ``shape``."""
    if several == "central":
        middle = np.array([shape[1] / 2, shape[0] / 2])
        return min(faces, key=lambda face: float(np.linalg.norm(face.box.reshape(2, 2).mean(0) - middle)))
    return max(faces, key=lambda face: face.area)
