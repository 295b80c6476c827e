"""One way in for real faces, whatever they come as."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from benchmark.data.readers.archives import KINDS
from benchmark.data.readers.encoded import EncodedFaces
from benchmark.data.readers.folder import open_folder
from benchmark.data.readers.recordio import open_records
from benchmark.data.readers.scan import Progress
from benchmark.interfaces import FaceVeilError

RULE = "#people="


class Location(NamedTuple):
    """Where photos are, and the rule that says who is shown on them."""

    path: Path
    people: str | None


def locate(data: Path) -> Location:
    """``PATH`` or ``PATH#people=RULE`` taken apart; the whole is a path where such a file exists."""
    path = Path(data).expanduser()
    text, mark, rule = str(path).partition(RULE)
    if not mark or path.exists():
        return Location(path, None)
    if not rule:
        raise FaceVeilError(f"{data}: a rule is missing after {RULE}")
    return Location(Path(text), rule)


def open_faces(
    data: Path, size: int | None = None, *, aligned: bool = True, cache: Path | None = None, progress: Progress | None = None
) -> EncodedFaces:
    """The photos at ``data``: a folder, zip, tar or RecordIO file, or a folder with ``train.rec`` in it.

    Arguments as for :func:`benchmark.data.readers.folder.open_folder`; a rule that says who is shown may follow the path
    after ``#people=``.

    Raises:
        FaceVeilError: missing, damaged as a whole, or none of the kinds, which it lists; or unclear who the people are.
        NoPhotosError: nothing usable; carries the report.
    """
    path, people = locate(data)
    if not path.exists():
        raise FaceVeilError(f"no such file or folder: {path}; expected {KINDS}")
    if (path / "train.rec").is_file():  # how public sets are handed out: train.rec, train.idx and *.bin in one folder
        path = path / "train.rec"
    if path.suffix == ".idx":
        path = path.with_suffix(".rec")
    if path.suffix == ".bin":
        raise FaceVeilError(f"{path} holds verification pairs, not people; expected {KINDS}")
    if path.suffix == ".rec":
        if people is not None:
            raise FaceVeilError(f"{path} names its people itself; leave out {RULE}{people}")
        return open_records(path, size, aligned=aligned, cache=cache, progress=progress)
    return open_folder(path, size, aligned=aligned, people=people, cache=cache, progress=progress)
