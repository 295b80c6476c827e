"""Photos as a user has them (arrays, folders, archives, Datasets), all read the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmark.data.readers.images import SUFFIXES, PhotoError, decode, inspect, map_threads
from benchmark.data.readers.open import open_faces
from benchmark.interfaces import FaceVeilError
from benchmark.runtime.home import cache_dir

KINDS = (
    "a folder or archive of photos, an array or tensor (N, H, W, 3) or (N, 3, H, W), a list of images or file names, "
    "or a Dataset whose items are images or (image, person)"
)


@dataclass(frozen=True)
class PhotoSet:
    """N photos with a name each.

    Attributes:
        read: position -> the photo as uint8 (H, W, 3), RGB.
        people: (N,) who is on each photo, or None where nobody said.
        hashes: (N,) of the photos' content, so that repeated ones are found.
        left_out: names of files that could not be used, with the reason.
        threaded: whether ``read`` may be called by several threads at once; nobody knows of a user's Dataset.
    """

    keys: tuple[str, ...]
    read: Callable[[int], np.ndarray]
    people: tuple[str, ...] | None
    hashes: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    threaded: bool = False

    def __len__(self) -> int:
        return len(self.keys)


def open_photo_set(source: Any, what: str, people: Sequence[Any] | None = None) -> PhotoSet:
    """Photos from whatever a user has at hand.

    Args:
        source: see ``KINDS``.  Folders with subfolders, and Datasets that yield a second value, say who is on each photo.
        what: what errors call the set, such as ``members``.
        people: (N,) who is on each photo, instead of what the source says.

    Raises:
        FaceVeilError: another kind of thing, no photo, or values that are no pixels.
    """
    if isinstance(source, str | Path):
        found = _files(Path(source), what)
    elif isinstance(source, np.ndarray | torch.Tensor):
        found = _array(source, what)
    elif hasattr(source, "load") and hasattr(source, "identity") and hasattr(source, "keys"):
        found = _photos(source)
    elif hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        found = _items(source, what)
    else:
        raise FaceVeilError(f"{what} must be {KINDS}; got {type(source).__name__}.")
    if not len(found):
        raise FaceVeilError(f"{what} holds no photo.")
    if people is None:
        return found
    if len(people) != len(found):
        raise FaceVeilError(f"{what} holds {len(found)} photos, but {len(people)} people are given: one a photo is needed.")
    return replace(found, people=tuple(str(p) for p in people))


def _files(path: Path, what: str) -> PhotoSet:
    inside = sorted(path.iterdir()) if path.is_dir() else []
    if not any(f.is_dir() for f in inside) and (names := [f.name for f in inside if f.suffix.lower() in SUFFIXES]):
        return _flat_folder(path, names)
    try:
        faces = open_faces(path, aligned=False, cache=cache_dir() / "photos")
    except FaceVeilError as error:
        raise FaceVeilError(f"{what}: {error}") from None
    names = [key.rpartition("/")[0] for key in faces.keys]
    people = tuple(names) if len(set(names)) > 1 else None  # one folder alone says nothing about people
    keys = faces.keys if people else tuple(key.rpartition("/")[2] for key in faces.keys)
    hashes = tuple(row.tobytes().hex() for row in faces.hashes)
    return PhotoSet(tuple(keys), faces.image, people, hashes, faces.report.skipped, threaded=True)


def _flat_folder(path: Path, names: Sequence[str]) -> PhotoSet:
    """Photos that lie side by side, of nobody in particular."""

    def examined(name: str) -> tuple[str, str]:
        """The hash of a file, or the problem with it."""
        try:
            data = (path / name).read_bytes()
            inspect(data)
        except (PhotoError, OSError) as error:
            return "", str(error)
        return hashlib.sha256(data).hexdigest(), ""

    found = map_threads(examined, names)
    keys = tuple(name for name, (content, _) in zip(names, found, strict=True) if content)
    left_out = tuple((name, problem) for name, (_, problem) in zip(names, found, strict=True) if problem)
    hashes = tuple(content for content, _ in found if content)
    return PhotoSet(keys, lambda i: decode((path / keys[i]).read_bytes()), None, hashes, left_out, threaded=True)


def _array(values: np.ndarray | torch.Tensor, what: str) -> PhotoSet:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
    if array.ndim != 4 or 3 not in (array.shape[1], array.shape[-1]):
        raise FaceVeilError(f"{what} is an array of shape {array.shape}; (N, H, W, 3) or (N, 3, H, W) is needed.")
    _check_range(array, what)
    keys = tuple(f"photo {i}" for i in range(len(array)))
    return PhotoSet(keys, lambda i: as_pixels(array[i], what), None, tuple(_hash(as_pixels(a, what)) for a in array))


def _photos(photos: Any) -> PhotoSet:
    def read(position: int) -> np.ndarray:
        return np.asarray(photos.load([position])[0].permute(1, 2, 0))

    people = tuple(str(p) for p in np.asarray(photos.identity))
    return PhotoSet(tuple(photos.keys), read, people, tuple(f"{photos.digest}:{k}" for k in photos.keys))


def _items(source: Any, what: str) -> PhotoSet:
    names = getattr(source, "classes", None)  # of torchvision's ImageFolder: numbers differ between two folders, names do not
    samples = getattr(source, "samples", None)
    keys, people, hashes = [], [], []
    for position in range(len(source)):
        item = source[position]
        labelled = isinstance(item, tuple | list) and len(item) >= 2
        if labelled:
            label = item[1].item() if isinstance(item[1], torch.Tensor) and item[1].numel() == 1 else item[1]
            people.append(str(names[label]) if names is not None and isinstance(label, int) else str(label))
        hashes.append(_hash(as_pixels(_picture(item), f"{what}[{position}]")))
        named = isinstance(item, str | Path)
        keys.append(str(item) if named else Path(samples[position][0]).name if samples else f"photo {position}")
    read = lambda i: as_pixels(_picture(source[i]), f"{what}[{i}]")  # noqa: E731
    known = tuple(people) if len(people) == len(keys) and len(set(people)) > 1 else None
    return PhotoSet(tuple(keys), read, known, tuple(hashes))


def _picture(item: Any) -> Any:
    return item[0] if isinstance(item, tuple | list) else item


def as_pixels(value: Any, what: str) -> np.ndarray:
    """One picture as uint8 (H, W, 3), RGB: from a file name, a PIL image, or an array with pixels in 0..255 or 0..1.

    Raises:
        FaceVeilError: neither, or values out of range.
    """
    if isinstance(value, str | Path):
        try:
            return decode(Path(value).read_bytes())
        except (OSError, FaceVeilError) as error:
            raise FaceVeilError(f"{what}: {value} cannot be read ({error}).") from None
    if isinstance(value, Image.Image):
        return np.asarray(value.convert("RGB"))
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[-1] not in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3):
        raise FaceVeilError(f"{what} is of shape {array.shape}, which is not a picture; it must be {KINDS}.")
    if array.dtype != np.uint8:
        _check_range(array, what)
        array = (array * 255).round().astype(np.uint8) if np.issubdtype(array.dtype, np.floating) else array.astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def _check_range(array: np.ndarray, what: str) -> None:
    if array.dtype == np.uint8 or not array.size:
        return
    low, high = float(array.min()), float(array.max())
    most = 1.0 if np.issubdtype(array.dtype, np.floating) else 255.0
    if not (low >= 0 and high <= most):
        raise FaceVeilError(
            f"{what}: pixels must be whole numbers in 0..255 or floats in 0..1, these lie in {low:.3g}..{high:.3g}. Pass the "
            "photos without normalisation, and say with mean=, std= or transform= what the model expects."
        )


def _hash(pixels: np.ndarray) -> str:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
