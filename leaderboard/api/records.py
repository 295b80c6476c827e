"""What the API tells of records: those of the store, and those that ship with the project as files."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from benchmark.records.listing import summarise
from benchmark.records.record import Record
from benchmark.service.store import Store, UnknownRecordError, record_id
from leaderboard.board.library import Library, dated


class Listing:
    """Records in brief, whole, and ranked.

    Args:
        library: of the same store and folder; it ranks.
    """

    def __init__(self, store: Store, folder: Path, library: Library) -> None:
        self.store = store
        self.folder = folder
        self.library = library
        self._shipped: dict[str, Record] = {}
        self._read: tuple[tuple[str, int], ...] | None = None

    def version(self) -> tuple[Any, ...]:
        """Changes with the store's records and with the files."""
        return (self.store.version(), self._files())

    def _files(self) -> tuple[tuple[str, int], ...]:
        return tuple((str(path), date) for path, date in dated(self.folder))

    def shipped(self) -> dict[str, Record]:
        """The records in files, by permanent name; files that cannot be read are left out (the pages name them)."""
        files = self._files()
        if files != self._read:
            found: dict[str, Record] = {}
            for path, _ in files:
                found |= _readable(Path(path))
            self._shipped, self._read = found, files
        return self._shipped

    def records(self, track: str | None, limit: int, offset: int) -> dict[str, Any]:
        """A page of records in brief."""
        rows = {row.id: row.model_dump(mode="json") for row in self.store.index(track)}
        for name, record in self.shipped().items():
            if name not in rows and track in (None, record.track):
                rows[name] = _brief(name, record)
        names = list(rows)[offset : offset + limit]
        return {"total": len(rows), "offset": offset, "records": [rows[name] for name in names]}

    def record(self, name: str) -> Record:
        """The record of a permanent name.

        Raises:
            UnknownRecordError: there is none.
        """
        try:
            return self.store.record_named(name)
        except UnknownRecordError:
            if name in self.shipped():
                return self.shipped()[name]
            raise

    def ranking(self, track: str | None, board: str | None, limit: int = 10**9, offset: int = 0) -> dict[str, Any]:
        """Entries in the order of the board, ranked against each other within track, protocol, board, data and split."""
        frame = self.library.board().frame
        if track is not None:
            frame = frame[frame["track"] == track]
        if board is not None:
            frame = frame[frame["board"] == board]
        shown = frame.iloc[offset : offset + limit]
        rows = json.loads(shown.to_json(orient="records", force_ascii=False, double_precision=15))
        return {"total": len(frame), "offset": offset, "entries": rows}


def _readable(path: Path) -> dict[str, Record]:
    """The records of a file that can be read and listed, by permanent name."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    found = {}
    for item in content if isinstance(content, list) else [content]:
        with contextlib.suppress(ValueError, TypeError, OverflowError, RecursionError):
            record = Record.model_validate(item)
            name = record_id(record)
            json.dumps(_brief(name, record), allow_nan=False)
            found[name] = record
    return found


def _brief(name: str, record: Record) -> dict[str, Any]:
    origin = record.provenance
    return {
        "id": name,
        "submission_id": origin.submission_id,
        "track": record.track,
        "protocol_version": record.protocol_version,
        "board": record.board,
        "configuration": record.configuration,
        "fingerprint": record.fingerprint,
        "complete": record.complete,
        "created": origin.created,
        "withdrawn": None,
        "summary": summarise(record).model_dump(mode="json"),
    }
