"""One way in for real faces, whatever they come as."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from benchmark.data.readers.archives import KINDS
from benchmark.data.readers.encoded import EncodedFaces
from benchmark.data.readers.folder import open_folder
from benchmark.data.readers.recordio import open_records
from benchmark.data.readers.scan import Progress
from benchmark.data.readers.without import without
from benchmark.interfaces import FaceVeilError

PEOPLE, WITHOUT = "people", "without"
_OPTION = re.compile(rf"#({PEOPLE}|{WITHOUT})=")


class Location(NamedTuple):
    """Where photos are, the rule that says who is shown on them, and the list of photos to leave out."""

    path: Path
    people: str | None = None
    without: Path | None = None


def locate(data: Path) -> Location:
    """``PATH``, ``PATH#people=RULE`` or ``PATH#without=LIST`` taken apart; the whole is a path where such a file exists."""
    path = Path(data).expanduser()
    text, *options = _OPTION.split(str(path))
    if not options or path.exists():
        return Location(path)
    found = dict(zip(options[::2], options[1::2], strict=True))
    if empty := [name for name, value in found.items() if not value]:
        raise FaceVeilError(f"{data}: a {'rule' if empty[0] == PEOPLE else 'file'} is missing after #{empty[0]}=")
    listed = found.get(WITHOUT)
    return Location(Path(text), found.get(PEOPLE), Path(listed).expanduser() if listed else None)


def open_faces(
    data: Path, size: int | None = None, *, aligned: bool = True, cache: Path | None = None, progress: Progress | None = None
) -> EncodedFaces:
    """The photos at ``data``: a folder, zip, tar or RecordIO file, or a folder with ``train.rec`` in it.

    Arguments as for :func:`benchmark.data.readers.folder.open_folder`; a rule that says who is shown may follow the path
    after ``#people=``, and a list of photos to leave out after ``#without=``.

    Raises:
        FaceVeilError: missing, damaged as a whole, or none of the kinds, which it lists; or unclear who the people are.
        NoPhotosError: nothing usable; carries the report.
    """
    path, people, listed = locate(data)
    photos = _open(path, people, size, aligned=aligned, cache=cache, progress=progress)
    return photos if listed is None else without(photos, listed)


def _open(
    path: Path, people: str | None, size: int | None, *, aligned: bool, cache: Path | None, progress: Progress | None
) -> EncodedFaces:
    if not path.exists():
        raise FaceVeilError(f"no such file or folder: {path}; expected {KINDS}")
    if (path / "train.rec").is_file():  # how public sets are distributed: train.rec, train.idx and *.bin in one folder
        path = path / "train.rec"
    if path.suffix == ".idx":
        path = path.with_suffix(".rec")
    if path.suffix == ".bin":
        raise FaceVeilError(f"{path} holds verification pairs, not people; expected {KINDS}")
    if path.suffix == ".rec":
        if people is not None:
            raise FaceVeilError(f"{path} names its people itself; leave out #{PEOPLE}={people}")
        return open_records(path, size, aligned=aligned, cache=cache, progress=progress)
    return open_folder(path, size, aligned=aligned, people=people, cache=cache, progress=progress)
