"""Duplicates of a set by the embeddings of a submission: streamed, so that memory does not grow with the photos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.data.duplicates import SAME_PERSON, Duplicate, find_duplicates, fingerprints
from benchmark.data.readers.encoded import EncodedFaces
from benchmark.data.readers.open import open_faces
from benchmark.data.readers.pairs import load_pairs
from benchmark.interfaces import Access, Photos
from benchmark.runtime.home import cache_dir
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission

BATCH = 256


def deduplicate(
    data: Path,
    model: Submission,
    against: Sequence[Path] = (),
    *,
    same_person: float = SAME_PERSON,
    device: torch.device | str = "cpu",
    step: Callable[[str], None],
) -> tuple[EncodedFaces, list[Duplicate]]:
    """The set, and its photos to leave out, see :func:`benchmark.data.duplicates.find_duplicates`.

    Args:
        model: what embeds; the better it recognises, the truer the list.
        against: verification lists (``.bin``) whose people are not to be in the set.
    """
    step(f"reading {data}")
    photos = open_faces(data, cache=cache_dir() / "photos")
    target = Target(model, Access.EMBEDDING, device)
    step(f"embedding {len(photos)} photos")
    prints = fingerprints(photos, _embedded(target, photos), model.card.embedding_size)
    others = []
    for file in against:
        step(f"embedding the photos of {file.name}")
        listed = load_pairs(file).images
        embeddings = np.concatenate([found for _, found in _embedded(target, listed)])
        others.append((file.name, embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(1e-12)))
    step("comparing")

    def embed(index: NDArray[np.int64]) -> NDArray[np.float32]:
        return _embed(target, photos, index)

    return photos, find_duplicates(photos, prints, embed, others, same_person=same_person)


def _embedded(target: Target, photos: Photos) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    for start in range(0, len(photos), BATCH):
        index = np.arange(start, min(start + BATCH, len(photos)))
        yield index, _embed(target, photos, index)


def _embed(target: Target, photos: Photos, index: NDArray[np.int64]) -> NDArray[np.float32]:
    with torch.inference_mode():
        embeddings: NDArray[np.float32] = target.embed(photos.load(index)).float().cpu().numpy()
    return embeddings
