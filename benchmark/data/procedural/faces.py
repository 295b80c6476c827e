"""Procedural faces: the embedded data set, unlimited and free of real people."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from benchmark.data.procedural import parameters
from benchmark.data.procedural.appearance import face_values
from benchmark.data.procedural.counter_hash import Stream, keys, pixel_noise
from benchmark.data.procedural.domains import domain_digest, spreads
from benchmark.data.procedural.drawing import draw
from benchmark.interfaces import FaceVeilError, content_hash
from benchmark.runtime.checked import intact, writing
from benchmark.runtime.threads import own_threads

GENERATOR_VERSION = 2  # raise it with every change of what a photo looks like
SMALLEST, LARGEST = 32, 112
_CHUNK_PIXELS = 1 << 15  # drawn at once: small enough for the processor's cache, large enough to outweigh the calls
_CHUNK_PHOTOS = 512  # written to the cache at once


def _draw_chunk(identity: np.ndarray, photo: np.ndarray, size: int, seed: int, spread: np.ndarray) -> torch.Tensor:
    values = face_values(seed, identity, photo, spread)
    image = draw(values, size, len(identity))
    image = ((image - 0.4) * values["contrast"][:, None]).add_(0.4)
    noise = torch.from_numpy(pixel_noise(keys(seed, Stream.NOISE, identity, photo), 3 * size * size)).view(-1, 3, size, size)
    image += noise * values["noise"][:, None]
    return (image * 255.0).add_(0.5).clamp_(0.0, 255.0).to(torch.uint8)


def render(identity: np.ndarray, photo: np.ndarray, size: int, seed: int, domain: str = "wild") -> torch.Tensor:
    """Photos of procedural people, uint8 (B, 3, size, size) RGB.

    A photo depends on (seed, its identity, its photo number, size, domain) alone, to the last bit.

    Args:
        identity, photo: (B,) numbers from 0.
        size: side in pixels, 32 to 112.
        domain: how much photos differ; see :mod:`benchmark.data.procedural.domains`.
    """
    spread = spreads(domain)
    out = torch.empty((len(identity), 3, size, size), dtype=torch.uint8)
    chunk = max(1, _CHUNK_PIXELS // (size * size))

    def fill(start: int) -> None:
        part = slice(start, start + chunk)
        with torch.inference_mode():
            out[part] = _draw_chunk(identity[part], photo[part], size, seed, spread)

    # Hundreds of short operations: one thread each for whole chunks, because torch's own threads would wait for each
    # other after every operation, which on a busy machine costs more than fifty-fold.
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(own_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(fill, range(0, len(identity), chunk)))
    finally:
        torch.set_num_threads(threads)
    return out


def _checked(pairs: np.ndarray, size: int, seed: int) -> np.ndarray:
    pairs = np.array(pairs, dtype=np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise FaceVeilError(f"pairs of (identity, photo) must have shape (N, 2), not {pairs.shape}.")
    if pairs.size and pairs.min() < 0:
        raise FaceVeilError("identities and photos of synthetic faces are numbered from 0; a negative number was given.")
    if not SMALLEST <= size <= LARGEST:
        raise FaceVeilError(
            f"synthetic faces are {SMALLEST} to {LARGEST} pixels wide, not {size}; choose a size in that range."
        )
    if seed < 0:
        raise FaceVeilError(f"the seed of synthetic faces must be 0 or more, not {seed}.")
    pairs.setflags(write=False)
    return pairs


class _Store:
    """All photos of one set in a .npy file on disk, drawn once and read as a memory map."""

    def __init__(self, path: Path, pairs: np.ndarray, size: int, seed: int, domain: str) -> None:
        self.path, self.pairs, self.size, self.seed, self.domain = path, pairs, size, seed, domain

    def _write(self) -> None:
        shape = (len(self.pairs), 3, self.size, self.size)
        with writing(self.path) as temporary:
            photos = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            for start in range(0, len(self.pairs), _CHUNK_PHOTOS):
                part = self.pairs[start : start + _CHUNK_PHOTOS]
                photos[start : start + len(part)] = render(part[:, 0], part[:, 1], self.size, self.seed, self.domain).numpy()
            photos.flush()

    @cached_property
    def photos(self) -> np.ndarray:
        """(N, 3, size, size) uint8.  Two processes may both draw; the files are equal and the last one stays."""
        if not intact(self.path):
            self._write()
        try:
            photos: np.ndarray = np.load(self.path, mmap_mode="r")
        except (ValueError, EOFError) as error:
            raise FaceVeilError(f"the cached faces {self.path} are damaged ({error}); delete that file.") from error
        if photos.shape != (len(self.pairs), 3, self.size, self.size) or photos.dtype != np.uint8:
            raise FaceVeilError(f"the cached faces {self.path} have shape {photos.shape}, {photos.dtype}; delete that file.")
        return photos


class SyntheticFaces:
    """Photos of procedural people; implements :class:`benchmark.interfaces.Photos`.

    Args:
        pairs: (N, 2) int, identity and photo number, both from 0 and without limit.
        size: side in pixels, 32 to 112.
        seed: another seed, other people.
        cache: folder in which the set is kept as one uint8 file, drawn when first read.  None: drawn on every ``load``.
        domain: how much photos of one person differ; see :mod:`benchmark.data.procedural.domains`.
        drawn: (N, 2) what is drawn under the names of ``pairs``; default the pairs themselves.

    Raises:
        FaceVeilError: size, seed or pairs out of range; no such domain; a damaged cache file, on ``load``.
    """

    def __init__(
        self,
        pairs: np.ndarray,
        size: int,
        seed: int,
        cache: Path | None = None,
        domain: str = "wild",
        drawn: np.ndarray | None = None,
    ) -> None:
        spreads(domain)  # raises for one that does not exist
        self.domain = domain
        self._pairs = _checked(pairs, size, seed)
        self._drawn = self._pairs if drawn is None else _checked(drawn, size, seed)
        self.size, self.seed = int(size), int(seed)
        self._rows = np.arange(len(self._pairs))
        self._store = None
        if cache is not None and len(self._pairs):
            self._store = _Store(Path(cache) / f"synthetic-{self.digest}.npy", self._drawn, self.size, self.seed, domain)

    @property
    def identity(self) -> np.ndarray:
        """(N,) int64, the person of each photo."""
        return self._pairs[:, 0]

    @cached_property
    def keys(self) -> Sequence[str]:
        """(N,) names such as ``p000123/0004``."""
        return [f"p{person:06d}/{photo:04d}" for person, photo in self._pairs.tolist()]

    @cached_property
    def digest(self) -> str:
        """Hash of the generator, its settings, seed, size and pairs: of everything that the pixels follow from."""
        spread = (parameters.IDENTITY_SPREAD, domain_digest(self.domain))
        pairs = hashlib.sha256(np.ascontiguousarray(self._drawn, "<i8").tobytes()).hexdigest()
        return content_hash("synthetic", GENERATOR_VERSION, *spread, self.seed, self.size, pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def load(self, index: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Photos as uint8 (B, 3, size, size), RGB."""
        rows = np.arange(len(self))[np.asarray(index, dtype=np.int64)]
        if self._store is None:
            people, photos = self._drawn[rows].T
            return render(people, photos, self.size, self.seed, self.domain)
        return torch.from_numpy(np.array(self._store.photos[self._rows[rows]]))

    @property
    def drawn(self) -> bool:
        """Whether the cache file is there; True without a cache."""
        return self._store is None or intact(self._store.path)

    def draw(self) -> None:
        """Draws the cache file now, where it is missing."""
        if self._store is not None:
            _ = self._store.photos

    def take(self, index: Sequence[int] | np.ndarray) -> SyntheticFaces:
        """Some of the photos, in the order of ``index`` (int, or a mask); they are read from the same cache file."""
        index = np.asarray(index)
        rows = np.arange(len(self))[index if index.dtype == bool else index.astype(np.int64)]
        part = SyntheticFaces(self._pairs[rows], self.size, self.seed, domain=self.domain, drawn=self._drawn[rows])
        part._rows, part._store = self._rows[rows], self._store
        return part
