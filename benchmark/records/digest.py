"""What the board needs of a record, as a text of some kilobytes that is kept beside it: readers parse it instead of the record.

It is made when the record is written, holds the numbers bit by bit, and says its version: a text of another version, or none,
is made again from the record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from benchmark.interfaces import FaceVeilError, PluginInfo, content_hash
from benchmark.records import beside
from benchmark.records.listing import Summary
from benchmark.records.record import Record
from benchmark.records.runs import Run
from benchmark.runtime.atomic import replacing
from benchmark.runtime.home import cache_dir
from benchmark.submissions.bounds import check_bounds

VERSION = 2  # of what a Run holds and means: raise it with every change of Run, of its parts or of how they are computed


@dataclass(frozen=True)
class Digest:
    """A record's :class:`Run` as JSON.  ``attacks``: hash of what the record says of its attacks; few differ in a store."""

    attacks: str
    text: str


def digest_of(record: Record) -> Digest:
    """The digest of a record.

    Raises:
        ValueError: it holds numbers that cannot be shown.
    """
    return Digest(attacks_hash(record), _adapter().dump_json(shown(record)).decode())


def shown(record: Record) -> Run:
    """The record in brief, if all that the board shows of it can be shown.

    Raises:
        ValueError: it holds numbers that are not finite, or too large.
    """
    run = Run.of(record)
    check_bounds([Summary.of(run).model_dump(), run.training_seconds, run.evaluation_seconds])
    return run


def run_of(text: str) -> Run:
    """The run in the text of a digest, its source empty.

    Raises:
        ValueError: it is none.
    """
    return _adapter().validate_json(text)


def attacks_hash(record: Record) -> str:
    """Hash of what a record says of its attacks."""
    return content_hash({name: info.model_dump(mode="json") for name, info in record.attacks.items()})


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Run]:
    return TypeAdapter(Run)


class FileDigest(BaseModel):
    """The runs of a file of records, in its order, and what they say of attacks."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    version: int
    state: tuple[int, int, int]  # date of the last change in ns, size, and what lies beside it
    attacks: Mapping[str, PluginInfo]
    runs: tuple[Run, ...]


def kept(file: Path) -> FileDigest | None:
    """The digest of a file as it is now; None where none is kept."""
    with contextlib.suppress(OSError, ValueError, FaceVeilError):
        found = FileDigest.model_validate_json(_place(file).read_bytes())
        if found.version == VERSION and found.state == state_of(file):
            return found
    return None


def keep(file: Path, digest: FileDigest) -> None:
    """Keeps the digest of a file; where it cannot be kept, it is made again next time."""
    with contextlib.suppress(OSError, FaceVeilError), replacing(_place(file)) as temporary:
        temporary.write_bytes(digest.model_dump_json().encode())


def state_of(file: Path) -> tuple[int, int, int]:
    """What tells one content of a file, and of what lies beside it, from another."""
    found = file.stat()
    return found.st_mtime_ns, found.st_size, beside.state(file.parent)


def _place(file: Path) -> Path:
    return cache_dir() / "digests" / f"{content_hash(str(file.absolute()))}.json"
