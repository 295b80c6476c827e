"""Real faces as a folder, zip or tar of ``identity/image``."""

from __future__ import annotations

from pathlib import Path

from benchmark.data.readers.archives import open_container
from benchmark.data.readers.encoded import EncodedFaces
from benchmark.data.readers.scan import Progress


class FolderFaces(EncodedFaces):
    """Photos of a folder, zip, tar or small tar.gz; implements :class:`benchmark.interfaces.Photos`."""


def open_folder(
    path: Path,
    size: int | None = None,
    *,
    aligned: bool = True,
    people: str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> FolderFaces:
    """The photos in ``identity/image`` below ``path``, possibly inside one or more wrapping folders.

    JPEG, PNG, WebP, PGM, PPM and BMP are read; grey becomes RGB.  A person is the topmost folder: recordings inside it are the
    same person's, and so are folders of one name in several parts (train, val) of a set; ``report.note`` says what was taken
    for people.  Nothing is unpacked to disk and only an index is held, except for a tar.gz, which is held decompressed in
    memory and refused above 256 MiB.  Every photo is decoded once here, so that a damaged one is named now
    (``report.skipped``) and not an hour into training; with ``cache`` that is done once per file.  Members of archives with
    absolute paths or ``..``, links and devices are skipped and named likewise.

    Args:
        path: folder, .zip, .tar, .tar.gz or .tgz.
        size: side of the photos in pixels.  Photos of that size are taken as they are; of others the square in the middle is
            scaled (``report.treated``); those half as large or less are skipped.  None: the side that most photos have.
        aligned: False keeps photos of any shape as they are, one by one through ``image(i)``; for alignment.
        people: rule that says who is shown, see :func:`benchmark.data.readers.people.people_of`.
        cache: folder for what the scan found.
        progress: called with (photos done, photos in all).

    Raises:
        FaceVeilError: ``path`` is missing, damaged as a whole or of another kind, or it is unclear who the people are.
        NoPhotosError: nothing usable; carries the report.
    """
    source = open_container(Path(path).expanduser(), people)
    return FolderFaces.scanned(source, size, aligned=aligned, cache=cache, progress=progress)
