"""Pictures of what inversions rebuilt, as the evaluator's own ``faceveil invert --gallery`` wrote them; never a submitter's.

They lie in ``galleries/<first 16 digits of the submission's id>/*.png`` beside the record files, and in the home, where
``faceveil invert --keep`` leaves them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from benchmark.protocol.tracks import TRACKS
from benchmark.records.record import Record
from benchmark.runtime.home import gallery_dir
from leaderboard.board.library import RECORDS

_ID = re.compile(r"[0-9a-f]{16,}")


def pictures(record: Record, folder: Path | None = None) -> list[Path]:
    """The pictures of an entry, by name; none where the track's data do not allow faces to be shown.

    ``folder``: of the record files; default as in :func:`leaderboard.board.library.library`.
    """
    track, name = TRACKS.get(record.track), record.provenance.submission_id
    if track is None or not track.shows_faces or not _ID.match(name):
        return []
    folder = folder or Path(os.environ.get("FACEVEIL_RECORDS") or RECORDS).expanduser()
    found = {path.name: path for place in (folder / "galleries" / name[:16], gallery_dir(name)) for path in place.glob("*.png")}
    return [found[picture] for picture in sorted(found)]
