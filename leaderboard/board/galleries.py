"""Pictures of what inversions rebuilt, as the evaluator's own ``faceveil invert --gallery`` wrote them; never a submitter's.

They lie in ``galleries/<first 16 digits of the submission's id>/*.png`` beside the record files, and in the home, where
``faceveil invert --keep`` leaves them.  Samples of generators are what an operator puts into ``galleries/generators``.
"""

from __future__ import annotations

import io
import os
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

from benchmark.protocol.tracks import TRACKS
from benchmark.records.record import Record
from benchmark.runtime.home import gallery_dir, home
from leaderboard.board.library import RECORDS

MOST_SAMPLES = 12
MAX_BYTES = 4 << 20  # of one picture of samples
MAX_SIDE = 4096  # pixels
_HEAD = re.compile(rb"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR(.{8})", re.DOTALL)
_ID = re.compile(r"[0-9a-f]{16,}")


@dataclass(frozen=True)
class Samples:
    """A picture of what a generator draws.  ``png`` holds the pixels and nothing else of the operator's file."""

    name: str
    png: bytes


def pictures(record: Record, folder: Path | None = None) -> list[Path]:
    """The pictures of an entry, by name; none where the track's data do not allow faces to be shown.

    ``folder``: of the record files; default as in :func:`leaderboard.board.library.library`.
    """
    track, name = TRACKS.get(record.track), record.provenance.submission_id
    if track is None or not track.shows_faces or not _ID.match(name):
        return []
    folder = folder or _records()
    found = {path.name: path for place in (folder / "galleries" / name[:16], gallery_dir(name)) for path in place.glob("*.png")}
    return [found[picture] for picture in sorted(found)]


def generator_samples(folder: Path | None = None) -> list[Samples]:
    """Pictures in ``galleries/generators`` beside the record files and in the home, by name, at most ``MOST_SAMPLES``.

    What is no PNG, cannot be decoded, or exceeds ``MAX_BYTES`` or ``MAX_SIDE`` is left out.
    """
    places = ((folder or _records()) / "galleries" / "generators", home() / "galleries" / "generators")
    found = {path.name: path for place in places for path in place.glob("*.png")}
    shown: list[Samples] = []
    for name in sorted(found):
        try:
            status = found[name].stat()
            png = _pixels(found[name], status.st_size, status.st_mtime_ns)
        except OSError:
            continue
        if png is not None and len(shown) < MOST_SAMPLES:
            shown.append(Samples(found[name].stem, png))
    return shown


def _records() -> Path:
    return Path(os.environ.get("FACEVEIL_RECORDS") or RECORDS).expanduser()


@lru_cache(maxsize=2 * MOST_SAMPLES)
def _pixels(path: Path, size: int, changed: int) -> bytes | None:  # noqa: ARG001 - part of the cache's key
    """A PNG written anew from the pixels of one, so that nothing hides in it; None: it is none, or too large.

    The size stands in the header and is checked before anything is decoded.  ``changed`` makes a new version a new question.
    """
    if size > MAX_BYTES or not path.is_file():
        return None
    data = path.read_bytes()[:MAX_BYTES]
    head = _HEAD.match(data)
    if head is None or not all(0 < side <= MAX_SIDE for side in struct.unpack(">II", head[1])):
        return None
    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            picture.convert("RGB").save(out, "PNG")
    except MemoryError:
        raise
    except Exception:  # Pillow's parsers raise almost anything on damaged input
        return None
    return out.getvalue()
