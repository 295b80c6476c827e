"""A picture of a set of photos, to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.interfaces import FaceVeilError, Photos
from benchmark.runtime.atomic import replacing


def grid(photos: Photos, people: int, per_person: int, out: Path, scale: int = 2) -> None:
    """Writes a PNG with one row for each of the first ``people`` people and ``per_person`` photos in a row.

    People stand in order of first appearance.  Where a person has fewer photos, or the set fewer people, places stay
    black or rows are left out.  ``scale`` enlarges every photo by a whole number, without smoothing.

    Raises:
        FaceVeilError: no photos, or a count below 1.
    """
    if min(people, per_person, scale) < 1:
        raise FaceVeilError(f"people, photos per person and scale must be 1 or more, not {people}, {per_person}, {scale}.")
    if not len(photos):
        raise FaceVeilError("there are no photos to preview.")
    identity = np.asarray(photos.identity)
    _, first = np.unique(identity, return_index=True)
    rows = [np.flatnonzero(identity == identity[at])[:per_person] for at in np.sort(first)[:people]]
    loaded = photos.load(np.concatenate(rows)).permute(0, 2, 3, 1).numpy()
    height, width = loaded.shape[1:3]
    canvas = np.zeros((len(rows) * height, per_person * width, 3), np.uint8)
    tiles = iter(loaded)
    for line, row in enumerate(rows):
        for column in range(len(row)):
            canvas[line * height : (line + 1) * height, column * width : (column + 1) * width] = next(tiles)
    picture = Image.fromarray(canvas)
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    with replacing(Path(out)) as temporary:
        picture.save(temporary, format="PNG")
