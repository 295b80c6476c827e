"""One way in for real faces, whatever they come as."""

from __future__ import annotations

from pathlib import Path

from benchmark.data.readers.archives import KINDS
from benchmark.data.readers.encoded import EncodedFaces
from benchmark.data.readers.folder import open_folder
from benchmark.data.readers.recordio import open_records
from benchmark.data.readers.scan import Progress
from benchmark.interfaces import FaceVeilError


def open_faces(
    path: Path, size: int | None = None, *, aligned: bool = True, cache: Path | None = None, progress: Progress | None = None
) -> EncodedFaces:
    """The photos at ``path``: a folder, zip, tar or RecordIO file, or a folder with ``train.rec`` in it.

    Arguments as for :func:`benchmark.data.readers.folder.open_folder`.

    Raises:
        FaceVeilError: missing, damaged as a whole, or none of the kinds, which it lists.
        NoPhotosError: nothing usable; carries the report.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FaceVeilError(f"no such file or folder: {path}; expected {KINDS}")
    if (path / "train.rec").is_file():  # how public sets are handed out: train.rec, train.idx and *.bin in one folder
        path = path / "train.rec"
    if path.suffix == ".idx":
        path = path.with_suffix(".rec")
    if path.suffix == ".bin":
        raise FaceVeilError(f"{path} holds verification pairs, not people; expected {KINDS}")
    if path.suffix == ".rec":
        return open_records(path, size, aligned=aligned, cache=cache, progress=progress)
    return open_folder(path, size, aligned=aligned, cache=cache, progress=progress)
