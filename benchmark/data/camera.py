"""Photos as a track's camera gives them: few pixels, scaled up again and compressed.  Computed on every read, never stored."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from PIL import Image

from benchmark.data.readers.images import map_threads
from benchmark.interfaces import Photos, content_hash
from benchmark.protocol.track import Camera

CAMERA_VERSION = 1  # raise it with every change of what a photo looks like


def through(photo: np.ndarray, camera: Camera) -> np.ndarray:
    """One photo, uint8 (H, W, 3), as the camera gives it: same shape.

    Every pixel of the small picture is the mean of its area (box filter); it is scaled back by bicubic interpolation and
    saved as JPEG.
    """
    image = Image.fromarray(photo)
    small = image.resize((camera.pixels, camera.pixels), Image.Resampling.BOX)
    file = io.BytesIO()
    small.resize(image.size, Image.Resampling.BICUBIC).save(file, format="JPEG", quality=camera.quality)
    return np.asarray(Image.open(file).convert("RGB"))


class CameraPhotos:
    """Photos through a camera; implements :class:`benchmark.interfaces.Photos`."""

    def __init__(self, photos: Photos, camera: Camera) -> None:
        self._photos, self._camera = photos, camera
        self.identity = np.asarray(photos.identity)

    def __len__(self) -> int:
        return len(self._photos)

    @property
    def keys(self) -> Sequence[str]:
        """(N,) as in the set behind the camera."""
        return self._photos.keys

    @cached_property
    def digest(self) -> str:
        """Hash of the set and of the camera."""
        return content_hash("camera", CAMERA_VERSION, self._camera.model_dump(mode="json"), self._photos.digest)

    def load(self, index: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Photos as uint8 (B, 3, H, W), RGB."""
        loaded = self._photos.load(index)
        if not len(loaded):
            return loaded
        seen = map_threads(lambda photo: through(photo, self._camera), list(loaded.permute(0, 2, 3, 1).numpy()))
        return torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2).contiguous()

    def take(self, index: Sequence[int] | np.ndarray) -> CameraPhotos:
        """Some of the photos, in the order of ``index`` (int, or a mask)."""
        return CameraPhotos(self._photos.take(index), self._camera)
