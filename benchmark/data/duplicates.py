"""People and photos that a set holds under two names: found by embedding and perceptual hash, dropped by a stored list.

Membership asks whether a person was trained on.  A person who is a member under one name and held out under another, or who is
also on the verification photos, makes every answer wrong.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.fft import dctn
from torch import Tensor

from benchmark.data.readers.encoded import EncodedFaces
from benchmark.data.readers.without import COLUMNS
from benchmark.interfaces import Photos
from benchmark.runtime.atomic import replacing

SAME_PERSON = 0.6  # cosine of two people's mean embeddings from which they count as one; a setting, not a law
SAME_PHOTO = 0.9  # cosine from which photos of near hashes count as one
HASH_DISTANCE = 3  # bits of 64 in which the hashes of one photo may differ
BANDS = HASH_DISTANCE + 1  # two hashes that differ in 3 bits agree in one of 4 parts
TILE = 4096  # people compared at once


@dataclass(frozen=True)
class Duplicate:
    """A photo to leave out, and why."""

    key: str
    reason: str


def perceptual_hashes(images: Tensor) -> NDArray[np.uint64]:
    """(B,) hashes of uint8 photos (B, 3, H, W): signs of the 64 lowest frequencies of a grey thumbnail against their median.

    After Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010): light, compression and scale
    change few bits.
    """
    grey = F.interpolate(images.float().mean(1, keepdim=True), size=(32, 32), mode="bilinear", antialias=True)
    low = dctn(grey[:, 0].numpy(), axes=(1, 2))[:, :8, :8].reshape(len(images), 64)
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def near_hashes(hashes: NDArray[np.uint64], people: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, of photos of two people whose hashes differ in at most ``HASH_DISTANCE`` bits.

    Hashes are sorted by each of four parts in turn; only those that agree in a part are compared.
    """
    parts = hashes.view(np.uint16).reshape(len(hashes), 4)
    seen: set[tuple[int, int]] = set()
    for band in range(BANDS):
        order = np.argsort(parts[:, band], kind="stable")
        value = parts[order, band]
        same = np.arange(len(order))  # of equal values, the further apart the fewer: those nearer together were equal, too
        for offset in range(1, len(order)):
            same = same[: np.searchsorted(same, len(order) - offset)]
            same = same[value[same] == value[same + offset]]
            if not len(same):
                break
            first, second = order[same], order[same + offset]
            near = np.bitwise_count(hashes[first] ^ hashes[second]) <= HASH_DISTANCE
            near &= people[first] != people[second]
            for i, j in zip(first[near].tolist(), second[near].tolist(), strict=True):
                pair = (min(i, j), max(i, j))
                if pair not in seen:
                    seen.add(pair)
                    yield pair


def near_rows(first: NDArray[np.float32], second: NDArray[np.float32], least: float) -> Iterator[tuple[int, int, float]]:
    """(i, j, cosine) of unit rows of (n, D) and (m, D) whose cosine is at least ``least``, tile by tile: memory is constant.

    All against all: 85,000 people take a minute or two on one core, so that no approximate index is needed.
    """
    for top in range(0, len(first), TILE):
        left = torch.from_numpy(first[top : top + TILE])
        for start in range(0, len(second), TILE):
            cosines = left @ torch.from_numpy(second[start : start + TILE]).T
            for i, j in (cosines >= least).nonzero().tolist():
                yield top + i, start + j, float(cosines[i, j])


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What duplicates are recognised by: ``hashes`` (N,) of photos, ``means`` (P, D) unit mean embeddings of people 0..P-1."""

    hashes: NDArray[np.uint64]
    means: NDArray[np.float32]
    count: NDArray[np.int64]


def fingerprints(photos: Photos, batches: Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]], size: int) -> Fingerprints:
    """Fingerprints of a set, photos and embeddings streamed: 8 bytes a photo and ``size`` floats a person are held.

    Args:
        batches: positions and embeddings (B, ``size``) of all photos.
    """
    identity = np.asarray(photos.identity)
    people = int(identity.max()) + 1
    hashes, sums = np.zeros(len(photos), np.uint64), np.zeros((people, size), np.float32)
    for index, embeddings in batches:
        hashes[index] = perceptual_hashes(photos.load(index))
        np.add.at(sums, identity[index], embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(1e-12))
    means = sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-12)
    return Fingerprints(hashes, means, np.bincount(identity, minlength=people))


def find_duplicates(
    photos: EncodedFaces,
    prints: Fingerprints,
    embed: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    others: Sequence[tuple[str, NDArray[np.float32]]] = (),
    *,
    same_person: float = SAME_PERSON,
) -> list[Duplicate]:
    """Photos to leave out so that nobody appears under two names, or on the verification photos.

    Where two names are one person, the one with fewer photos is left out as a whole; so is everybody on a verification list.
    Of a photo under two names, the copy of the person with fewer photos is left out.

    Args:
        embed: function from positions to embeddings, for photos of near hashes.
        others: names and unit embeddings (m, D) of verification lists.
        same_person: cosine from which two people count as one.
    """
    names, identity = photos.names, photos.identity
    gone: dict[int, str] = {}
    for a, b, cosine in near_rows(prints.means, prints.means, same_person):
        if a < b and not {a, b} & gone.keys():
            less, more = sorted((a, b), key=lambda person: (prints.count[person], -person))
            gone[less] = f"duplicate: the person is that of {names[more]} (cosine {cosine:.3f})"
    for list_name, embeddings in others:
        for person, _, cosine in near_rows(prints.means, embeddings, same_person):
            gone.setdefault(person, f"duplicate: the person is on {list_name} (cosine {cosine:.3f})")
    found = {int(row): gone[person] for person in gone for row in np.flatnonzero(identity == person)}
    pairs = [pair for pair in near_hashes(prints.hashes, identity) if not {*pair} & found.keys()]
    for a, b in pairs:
        if _cosine(embed, a, b) >= SAME_PHOTO and not {a, b} & found.keys():
            less, more = sorted((a, b), key=lambda row: (prints.count[identity[row]], -row))
            found[less] = f"duplicate: the photo is {photos.keys[more]}"
    return [Duplicate(photos.keys[row], reason) for row, reason in sorted(found.items())]


def _cosine(embed: Callable[[NDArray[np.int64]], NDArray[np.float32]], a: int, b: int) -> float:
    first, second = embed(np.array([a, b]))
    return float(first @ second / max(1e-12, float(np.linalg.norm(first) * np.linalg.norm(second))))


def write_list(duplicates: Sequence[Duplicate], path: Path) -> None:
    """Stores a list for ``PATH#without=FILE``."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        rows.writerows((d.key, d.reason) for d in duplicates)
