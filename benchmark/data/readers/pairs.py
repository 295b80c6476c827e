"""Verification pairs in the ``.bin`` files of InsightFace (lfw.bin, cfp_fp.bin, agedb_30.bin, ...).

Such a file is a pickle of (list of 2 N encoded photos, list of N answers "same person?"); photos 2 i and 2 i + 1 are pair i.
A pickle is a program.  The one read here may build lists, tuples, bytes, numbers and truth values, and call nothing.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.readers.encoded import EncodedFaces
from benchmark.data.readers.scan import Progress, ScanReport
from benchmark.interfaces import FaceVeilError


@dataclass(frozen=True, eq=False)
class Pairs:
    """N pairs: ``images`` has 2 N photos, 2 i and 2 i + 1 being pair i; ``same`` (N,) bool.

    ``number`` (N,) are their places in the file, which has ``listed`` pairs.  ``images`` implements
    :class:`benchmark.interfaces.Photos`; as such a file does not say who is shown, every photo stands as a person of its own
    there.  ``report`` names the photos that cannot be used; their pairs are left out.
    """

    images: EncodedFaces
    same: np.ndarray
    number: np.ndarray
    listed: int
    report: ScanReport

    def __len__(self) -> int:
        return len(self.same)


class PairSource:
    """The encoded photos of a ``.bin`` file, held in memory; see :class:`benchmark.data.readers.scan.Source`."""

    def __init__(self, path: Path, photos: list[bytes]) -> None:
        self.path = path
        self.rejected: list[tuple[str, str]] = []
        self._photos = photos
        status = path.stat()
        self._stamp = status.st_size, status.st_mtime_ns

    def __len__(self) -> int:
        return len(self._photos)

    def key(self, position: int) -> str:
        """``pair/side``: number of the pair, and 0 or 1."""
        return f"{position // 2:06d}/{position % 2}"

    def people(self, positions: np.ndarray) -> np.ndarray:
        """(n,) the positions themselves: nothing is known about who is shown."""
        return positions

    def read(self, position: int) -> bytes:
        """The encoded photo."""
        return self._photos[position]

    def stamp(self, _position: int) -> tuple[int, int]:
        """Size and modification time of the whole file."""
        return self._stamp


class _Refused(pickle.UnpicklingError):
    """The pickle asks for more than data."""


def _latin1(text: Any, encoding: Any) -> bytes:
    """What Python 3 writes for bytes in old pickle protocols is a call of ``_codecs.encode(text, "latin1")``: this, no more."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise _Refused("a call other than that which old protocols use for bytes")
    return text.encode("latin1")


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise _Refused(f"it refers to {module}.{name}; only lists of bytes and truth values are read")

    def persistent_load(self, _identifier: Any) -> Any:
        raise _Refused("it refers to a persistent object; only lists of bytes and truth values are read")


def _unpickle(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FaceVeilError(f"cannot read {path}: {error.strerror}") from None
    if data.startswith(b"version https://git-lfs"):
        raise FaceVeilError(f"{path} is a git-LFS pointer, not the data; fetch the data with: git lfs pull")
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="bytes").load()  # bytes: how files of Python 2 hold photos
    except _Refused as error:
        raise FaceVeilError(f"{path} is refused as a file of pairs: {error}") from None
    except MemoryError:
        raise FaceVeilError(f"{path} needs more memory to be read than there is.") from None
    except Exception as error:  # damaged opcodes make the unpickler raise almost anything
        raise FaceVeilError(f"{path} is not a file of pairs, or damaged ({type(error).__name__}: {error})") from None


def _parts(path: Path) -> tuple[list[bytes], np.ndarray]:
    """The encoded photos and (N,) bool answers of a file, checked for shape and types."""
    content = _unpickle(path)
    if (
        not isinstance(content, list | tuple)
        or len(content) != 2
        or not all(isinstance(part, list | tuple) for part in content)
    ):
        raise FaceVeilError(f"{path} is not a file of pairs: expected (list of photos, list of answers)")
    photos, answers = content
    if not all(type(photo) is bytes for photo in photos):
        raise FaceVeilError(f"{path} is not a file of pairs: a photo must be the bytes of an image file")
    if not all(type(answer) in (bool, int) and answer in (0, 1) for answer in answers):
        raise FaceVeilError(f"{path} is not a file of pairs: an answer must be True or False")
    if not answers or len(photos) != 2 * len(answers):
        raise FaceVeilError(f"{path} is damaged: {len(answers)} answers need {2 * len(answers)} photos, it holds {len(photos)}")
    return list(photos), np.array(answers, bool)


def load_pairs(path: Path, size: int | None = None, *, cache: Path | None = None, progress: Progress | None = None) -> Pairs:
    """The pairs of an InsightFace ``.bin`` file.  The encoded photos are held in memory and decoded when asked for.

    Args:
        path: the file; the pickle in it may hold lists, bytes and truth values, and is refused where it refers to code.
        size: side of the photos in pixels, as for :func:`benchmark.data.readers.folder.open_folder`.
        cache: folder for what the scan found.
        progress: called with (photos done, photos in all).

    Raises:
        FaceVeilError: unreadable, refused or of another shape; NoPhotosError: no photo is usable.
    """
    path = Path(path).expanduser()
    photos, same = _parts(path)
    source = PairSource(path, photos)
    images = EncodedFaces.scanned(source, size, distinct=False, cache=cache, progress=progress)
    usable = np.zeros(2 * len(same), bool)
    usable[images.rows] = True
    whole = usable.reshape(-1, 2).all(axis=1)
    if not whole.any():
        raise FaceVeilError(f"{path} holds no pair of usable photos\n{images.report.describe()}")
    kept = images.take(np.repeat(whole, 2)[images.rows])
    return Pairs(kept, same[whole], np.flatnonzero(whole), len(same), images.report)
