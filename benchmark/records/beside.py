"""Results of inversion in files of their own beside files of records: ``inversions/<16 digits of the submission>.json``.

They are joined to the records of that submission when a file of records is read
(:func:`benchmark.records.reading.items`).  So a file of records can be written anew from a store that never ran an
inversion, and the board loses nothing.  Nor does anything stand twice where the store did get it: what lies beside a file is
not written into it again (:func:`apart`).
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmark.interfaces import PluginInfo
from benchmark.records.record import Record
from benchmark.records.results import InversionRecord
from benchmark.runtime.atomic import write_text

FOLDER = "inversions"
_log = logging.getLogger("faceveil.records")


class InversionFile(BaseModel):
    """What one such file holds.  It belongs to records of this submission on this track under this protocol, to no others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    submission_id: str
    track: str
    protocol_version: str
    inversion: InversionRecord
    attacks: Mapping[str, PluginInfo]  # what its attacks are


def place(folder: Path, submission_id: str) -> Path:
    """The file of a submission beside the record files of ``folder``."""
    return folder / FOLDER / f"{submission_id[:16]}.json"


def write(folder: Path, result: InversionFile) -> Path:
    """Writes a result beside the record files of ``folder`` and returns its file; an older one is replaced."""
    file = place(folder, result.submission_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, result.model_dump_json(indent=1) + "\n")
    return file


def joined(item: Any, folder: Path) -> Any:
    """What stands in a file of records, with the inversion that lies beside it; as it is where it has its own."""
    if not isinstance(item, dict) or item.get("inversion") is not None:
        return item
    origin = item.get("provenance")
    name = origin.get("submission_id") if isinstance(origin, dict) else None
    if not isinstance(name, str) or not name.isalnum():
        return item
    found = _of(folder, name, item.get("track"), item.get("protocol_version"))
    if found is None:
        return item
    return {**item, "inversion": found["inversion"], "attacks": {**item.get("attacks", {}), **found["attacks"]}}


def apart(record: Record, folder: Path) -> Record:
    """A record as a file of ``folder`` holds it: without the inversion that lies beside it there; else as it is."""
    if record.inversion is None:
        return record
    found = _of(folder, record.provenance.submission_id, record.track, record.protocol_version)
    if found is None or InversionRecord.model_validate(found["inversion"]) != record.inversion:
        return record
    attacks = {name: info for name, info in record.attacks.items() if name not in found["attacks"]}
    return record.model_copy(update={"inversion": None, "attacks": attacks})


def _of(folder: Path, submission_id: str, track: Any, protocol_version: Any) -> dict[str, Any] | None:
    """What lies beside the files of ``folder`` for this submission on this track under this protocol."""
    found = _read(place(folder, submission_id))
    wanted = {"submission_id": submission_id, "track": track, "protocol_version": protocol_version}
    return found if found is not None and wanted.items() <= found.items() else None


def _read(file: Path) -> dict[str, Any] | None:
    """The content of a file as plain data; None where there is none, or where it is damaged, which is logged."""
    if not file.is_file():
        return None
    try:
        content = file.read_bytes()
        InversionFile.model_validate_json(content)
    except (OSError, ValueError) as error:
        _log.warning("%s is left out: %s", file, str(error).splitlines()[0])
        return None
    found: dict[str, Any] = json.loads(content)
    return found


def state(folder: Path) -> int:
    """A number that changes when a file of :data:`FOLDER` is added, replaced or removed; 0 where there is none."""
    files = sorted((folder / FOLDER).glob("*.json"))
    return zlib.crc32(repr([(file.name, file.stat().st_mtime_ns) for file in files]).encode()) if files else 0
