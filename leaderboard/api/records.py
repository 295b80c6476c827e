"""What the API says of records: those of the store, and those that ship with the project as files."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.records.listing import Listed
from benchmark.records.reading import items
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
        self._lock = threading.Lock()
        self._listed: tuple[Any, list[tuple[str, str, str]]] = (None, [])
        self._ranked: tuple[Any, list[tuple[str, str, str]]] = (None, [])

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

    def tracks(self) -> set[str]:
        """Those that have records."""
        return {track for track, _, _ in self._lines()}

    def records(self, track: str | None, board: str | None, limit: int, offset: int) -> str:
        """A page of records in brief."""
        rows = [line for owner, where, line in self._lines() if track in (None, owner) and board in (None, where)]
        return _page(len(rows), offset, "records", rows[offset : offset + limit])

    def _lines(self) -> list[tuple[str, str, str]]:
        """Track, board and JSON of every record in brief, made once for a version: other pages of the list cost nothing."""
        version = self.version()
        with self._lock:
            if version != self._listed[0]:
                rows = {row.id: row for row in self.store.index()}
                for name, record in self.shipped().items():
                    if name not in rows:
                        rows[name] = Listed.of(name, record)
                self._listed = (version, [(r.track, r.board, _text(r.model_dump(mode="json"))) for r in rows.values()])
            return self._listed[1]

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

    def ranking(self, track: str | None, board: str | None, limit: int = 10**9, offset: int = 0) -> str:
        """Entries in the order of the board, ranked against each other within track, protocol, board, data and split."""
        rows = [line for owner, where, line in self._entries() if track in (None, owner) and board in (None, where)]
        return _page(len(rows), offset, "entries", rows[offset : offset + limit])

    def _entries(self) -> list[tuple[str, str, str]]:
        """Track, board and JSON of every entry, made once for a board."""
        frame = self.library.board().frame
        with self._lock:
            if frame is not self._ranked[0]:
                text = frame.to_json(orient="records", lines=True, force_ascii=False, double_precision=15)
                lines = text.split("\n") if len(frame) else []
                self._ranked = (frame, list(zip(frame["track"], frame["board"], lines, strict=False)))
            return self._ranked[1]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _page(total: int, offset: int, name: str, rows: Sequence[str]) -> str:
    """The JSON of one page of a list."""
    return f'{{"total": {total}, "offset": {offset}, "{name}": [{", ".join(rows)}]}}'


def _readable(path: Path) -> dict[str, Record]:
    """The records of a file that can be read and listed, by permanent name."""
    try:
        content = items(path)
    except (OSError, ValueError, RecursionError):
        return {}
    found = {}
    for item in content:
        with contextlib.suppress(ValueError, TypeError, OverflowError, RecursionError):
            record = Record.model_validate(item)
            name = record_id(record)
            json.dumps(Listed.of(name, record).model_dump(mode="json"), allow_nan=False)
            found[name] = record
    return found
