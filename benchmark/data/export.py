"""Photos of a role written out, for people who train with their own code."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmark.data.readers.images import map_threads
from benchmark.data.readers.scan import Progress
from benchmark.interfaces import FaceVeilError, Photos
from benchmark.runtime.unfinished import INCOMPLETE, is_taken

BATCH = 256


def export_role(photos: Photos, out: Path, progress: Progress | None = None) -> None:
    """Write ``photos`` below ``out`` as lossless PNG, ``identity/photo.png``, with ``index.csv`` and ``README.txt``.

    People and photos are numbered (``000012/0003.png``): names of people may not be fit for file names, and two photos
    may differ by suffix only.  ``index.csv`` gives each file its identity number and its key in the data set.
    README.txt, which carries the digest, is written last: without it an export is not complete.

    Raises:
        FaceVeilError: ``out`` holds something already, or cannot be written.
    """
    if is_taken(out):
        raise FaceVeilError(f"{out} is not an empty folder; name another one, or empty it first")
    files = _files(np.asarray(photos.identity))
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / INCOMPLETE).touch()
        for person in sorted({file.split("/")[0] for file in files}):
            (out / person).mkdir(parents=True, exist_ok=True)
        for start in range(0, len(photos), BATCH):
            rows = range(start, min(start + BATCH, len(photos)))
            pixels = photos.load(rows).permute(0, 2, 3, 1)
            map_threads(_save, [(image, out / files[row]) for image, row in zip(pixels, rows, strict=True)])
            if progress:
                progress(rows.stop, len(photos))
        _write_index(photos, files, out / "index.csv")
        (out / "README.txt").write_text(_readme(photos), encoding="utf-8")
        (out / INCOMPLETE).unlink()
    except OSError as error:
        raise FaceVeilError(f"cannot write below {out} ({error.strerror})") from error


def _files(identity: np.ndarray) -> list[str]:
    """The file of each photo, relative to the folder."""
    taken: defaultdict[int, int] = defaultdict(int)
    files = []
    for person in identity.tolist():
        files.append(f"{person:06d}/{taken[person]:04d}.png")
        taken[person] += 1
    return files


def _save(photo: tuple[torch.Tensor, Path]) -> None:
    pixels, file = photo
    Image.fromarray(pixels.numpy()).save(file, compress_level=1)


def _write_index(photos: Photos, files: list[str], file: Path) -> None:
    with open(file, "w", encoding="utf-8", errors="backslashreplace", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["file", "identity", "key"])
        rows.writerows(zip(files, np.asarray(photos.identity).tolist(), photos.keys, strict=True))


def _readme(photos: Photos) -> str:
    people = len(np.unique(photos.identity))
    return (
        f"{len(photos)} photos of {people} people, one folder per person; index.csv names them.\n"
        f"digest of the photos: {photos.digest}\n"
    )
