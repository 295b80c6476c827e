"""A set without the photos that a stored list names, such as the duplicates that `faceveil data dedup` found."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmark.data.readers.encoded import EncodedFaces
from benchmark.interfaces import FaceVeilError

COLUMNS = ("key", "reason")


def without(photos: EncodedFaces, path: Path) -> EncodedFaces:
    """A set without the photos of a stored list; people who have none left are gone, the report names what was dropped.

    Raises:
        FaceVeilError: the file is no such list, or none of its photos is in the set.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file)
            if not {*COLUMNS} <= {*(rows.fieldnames or ())}:
                raise FaceVeilError(f"{path} is not a list of duplicates: it lacks the columns {', '.join(COLUMNS)}")
            reasons = {row["key"]: row["reason"] or "duplicate" for row in rows}
    except OSError as error:
        raise FaceVeilError(f"cannot read the list of duplicates {path}: {error.strerror}") from None
    dropped = np.fromiter((key in reasons for key in photos.keys), bool, len(photos))
    if reasons and not dropped.any():
        raise FaceVeilError(f"{path} lists {len(reasons)} photos, and none is in {photos.source.path}: it is of another set")
    kept = photos.take(~dropped)
    people, identity = np.unique(kept.identity, return_inverse=True)
    left_out = sorted((key, reasons[key]) for key, gone in zip(photos.keys, dropped, strict=True) if gone)
    report = replace(
        photos.report,
        people=len(people),
        photos=len(kept),
        skipped=(*photos.report.skipped, *left_out),
        note=f"{photos.report.note}; {len(left_out)} photos left out by {path.name}".lstrip("; "),
    )
    names = tuple(photos.names[person] for person in people)
    return replace(kept, identity=identity.astype(np.int64), names=names, report=report)
