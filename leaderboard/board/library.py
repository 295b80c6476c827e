"""Where the pages get their entries from: the store and the shipped record files, read once and kept until they change."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.interfaces import FaceVeilError, PluginInfo
from benchmark.records import beside
from benchmark.records.digest import VERSION, FileDigest, keep, kept, shown, state_of
from benchmark.records.ranking import RankedEntry, by_scope, companions, rank_runs, rank_scope
from benchmark.records.reading import items
from benchmark.records.record import Record
from benchmark.records.runs import QUICKSTART, RecordSource, Run, Scope
from benchmark.service.database import StoreLockedError, StoreVanishedError, StoreVersionError
from benchmark.service.store import Store, UnknownRecordError, store_location
from leaderboard.board.frame import frame_of, haystack

RECORDS = Path(__file__).parents[1] / "records"
DEFAULT_TRACKS = ("synthetic-64", "synthetic-quick")  # the first that has entries
_OPEN_RECORDS = 64  # whole records kept in memory
after_building: list[Callable[[], None]] = []  # what a process does whenever a board was made anew
Place = Callable[[Scope, Sequence[Run], Sequence[Run]], list[RankedEntry]]  # ranks the runs of a scope among its companions


@dataclass(frozen=True)
class Board:
    """Everything the pages read.  ``frame`` has the columns of :data:`leaderboard.board.columns.COLUMNS`, in ranking order."""

    frame: pd.DataFrame
    scopes: Mapping[Scope, pd.DataFrame]  # the frame's rows, scope by scope
    entries: Mapping[str, RankedEntry]  # by key
    haystack: pd.Series  # what the search looks through, by the frame's index
    attacks: Mapping[str, PluginInfo]  # what the records say of the attacks, by name
    problems: tuple[str, ...] = ()  # records that cannot be shown, and why
    made: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)  # see :meth:`once`

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What follows from the board alone, made when it is first asked for: other readers and other filters get the same."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    @property
    def tracks(self) -> list[str]:
        """Names of the tracks that have entries, the one that is shown first in front."""
        names = sorted({scope.track for scope in self.scopes})
        return sorted(names, key=lambda name: DEFAULT_TRACKS.index(name) if name in DEFAULT_TRACKS else len(DEFAULT_TRACKS))


class Library:
    """The records of a store and of a folder, in brief; thread-safe.  What has not changed is not read again."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._lock = threading.Lock()  # the first reader builds, the others wait instead of building too
        self._runs: dict[Any, list[Run]] = {}  # by permanent name and fingerprint, or by file and its date
        self._attacks: dict[str, PluginInfo] = {}
        self._told: set[str] = set()  # hashes of what records of the store say of attacks
        self._ranked: dict[Scope, tuple[tuple[Run, ...], list[RankedEntry]]] = {}
        self._records: OrderedDict[RecordSource, Record] = OrderedDict()
        self._state: Any = None
        self._board: Board | None = None

    def board(self) -> Board:
        """The board as it is now.  Where nothing has changed it costs one query, of the store's version.

        Raises:
            StoreError: the store cannot be read.
        """
        files = tuple(dated(self._folder))
        state = (self._store.version(), files)
        with self._lock:
            if self._board is None or state != self._state:
                with _without_collection():
                    self._board, self._state = self._build(files), state
                for act in after_building:
                    act()
            return self._board

    def record(self, run: Run) -> Record:
        """The whole record of a run.

        Raises:
            UnknownRecordError: the store has another in its place by now.
        """
        with self._lock:
            if run.source in self._records:
                self._records.move_to_end(run.source)
                return self._records[run.source]
        source = run.source
        record = _from_file(source) if source.path else self._store.record_named(source.name)
        with self._lock:
            self._records[source] = record
            while len(self._records) > _OPEN_RECORDS:
                self._records.popitem(last=False)
        return record

    def every(self, runs: Iterable[Run]) -> Iterator[tuple[Run, Record]]:
        """The whole records of some runs, file by file: each file is read once, and nothing is kept."""
        path, content = "", []
        for run in sorted(runs, key=lambda run: (run.source.path, run.source.position)):
            if not run.source.path:
                yield run, self._store.record_named(run.source.name)
                continue
            if run.source.path != path:
                path, content = run.source.path, items(Path(run.source.path))
            yield run, Record.model_validate(content[run.source.position])

    def _build(self, files: Sequence[tuple[Path, int]]) -> Board:
        problems: list[str] = []
        current = self._store.fingerprints()
        known = self._runs
        self._runs = {key: known.get(key, []) for key in current.items()}
        self._stored({key[0]: key for key in current.items() if not self._runs[key]}, problems)
        for path, date in files:
            try:
                self._runs[path, date] = known.get((path, date)) or self._filed(path, problems)
            except MemoryError:
                raise
            except Exception as error:
                problems.append(_why_not(path.name, error))
        self._records.clear()
        runs = [run for found in self._runs.values() for run in found]
        told = len(problems)
        try:
            return _board(self._rank(runs, problems), self._attacks, tuple(problems))
        except Exception:  # a scope that cannot be put into a table: the others are shown without it
            del problems[told:]
            self._ranked = {}
            return _board(self._rank(runs, problems, _tabled), self._attacks, tuple(problems))

    def _stored(self, keys: Mapping[str, tuple[str, str]], problems: list[str]) -> None:
        """Reads the records of these names by their digests; makes those that are missing, and keeps them."""
        missing, made = dict(keys), []
        for found in self._store.digests(keys):
            with contextlib.suppress(ValueError):  # a damaged one is made again
                self._runs[missing[found.name]] = [self._placed(found.run, found.digest.attacks)]
                del missing[found.name]
        for name, key in missing.items():
            try:
                new = self._store.make_digest(name)
                self._runs[key] = [self._placed(new.run, new.digest.attacks)]
                made.append(new)
            except (StoreVanishedError, StoreLockedError, MemoryError):
                raise  # the store itself or the machine, not a record
            except Exception as error:  # one record never keeps the others from being shown
                problems.append(_why_not(f"record {name[:16]}", error))
        if made:
            self._store.keep_digests(made)

    def _placed(self, run: Run, attacks: str) -> Run:
        """A run of the store; what its record says of attacks is read where it is not known yet."""
        if attacks not in self._told:
            with contextlib.suppress(StoreVersionError, UnknownRecordError):  # another record may say the same
                self._attacks.update(self._store.record_named(run.source.name).attacks)
                self._told.add(attacks)
        if run.team == QUICKSTART:  # beside what was published, not doubles of it
            return replace(run, scope=replace(run.scope, board="local"))
        return run

    def _filed(self, path: Path, problems: list[str]) -> list[Run]:
        """The records of a file by its digest; where there is none, the file is read, and its digest is kept."""
        digest = kept(path)
        if digest is None:
            digest = _read(path, problems)
        self._attacks.update(digest.attacks)
        return [replace(run, source=RecordSource(path=str(path), position=run.source.position)) for run in digest.runs]

    def _rank(self, runs: Iterable[Run], problems: list[str], place: Place | None = None) -> list[RankedEntry]:
        """Ranks the scopes in which anything changed, or in those that are judged on the same people."""
        scopes, ranked = by_scope(runs), {}
        for scope, found in scopes.items():
            pool, (before, entries) = tuple(companions(scope, scopes)), self._ranked.get(scope, ((), []))
            same = len(pool) == len(before) and all(a is b for a, b in zip(pool, before, strict=True))
            ranked[scope] = (pool, entries if same else _ranked(scope, found, pool, problems, place or rank_scope))
        self._ranked = ranked
        return [entry for _, entries in ranked.values() for entry in entries]


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Ten thousand entries are a million objects, all of which stay: looking for garbage among them doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def dated(folder: Path) -> Iterator[tuple[Path, int]]:
    """The record files of a folder, each with a number that changes with it, or with what lies beside it.

    One that vanishes meanwhile is left out.
    """
    there = beside.state(folder)
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError):
            yield path, path.stat().st_mtime_ns + there


def _ranked(scope: Scope, runs: Sequence[Run], pool: Sequence[Run], problems: list[str], place: Place) -> list[RankedEntry]:
    """The entries of a scope; where they cannot be ranked together, without those runs that cannot be ranked at all."""
    try:
        return place(scope, runs, pool)
    except MemoryError:
        raise
    except Exception as error:
        reason = error
    faults = {run.source: fault for run in {*runs, *pool} if (fault := _fault(run, place)) is not None}
    problems += [_why_not(f"{r.name} by {r.team}", faults[r.source]) for r in runs if r.source in faults]
    try:
        return place(scope, *([r for r in some if r.source not in faults] for some in (runs, pool)))
    except Exception:
        problems.append(_why_not(f"track {scope.track}, {scope.board}", reason))
        return []


def _fault(run: Run, place: Place) -> Exception | None:
    """Why a run cannot be ranked even alone."""
    try:
        place(run.scope, [run], [run])
    except Exception as error:
        return error
    return None


def _tabled(scope: Scope, runs: Sequence[Run], pool: Sequence[Run]) -> list[RankedEntry]:
    """Ranks, and makes sure that what comes out can be put into a table."""
    entries = rank_scope(scope, runs, pool)
    frame_of(entries).to_json(orient="records", double_precision=15)
    return entries


def _why_not(name: str, error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    reason = lines[0] if isinstance(error, FaceVeilError | OSError | ValueError) else f"{type(error).__name__}: {lines[0]}"
    return f"{name} is not shown: {reason[:200]}"


def _read(path: Path, problems: list[str]) -> FileDigest:
    """The records of a file that can be read and shown; of each other the problem.  Its digest is kept if there was none."""
    state, runs, told = state_of(path), [], []
    attacks: dict[str, PluginInfo] = {}
    for position, item in enumerate(items(path)):
        try:
            record = Record.model_validate(item)
            runs.append(replace(shown(record), source=RecordSource(position=position)))
            attacks.update(record.attacks)
        except MemoryError:
            raise
        except Exception as error:  # one record never keeps the others from being shown
            told.append(_why_not(f"{path.name} (record {position + 1})", error))
    digest = FileDigest(version=VERSION, state=state, attacks=attacks, runs=tuple(runs))
    if not told:
        keep(path, digest)
    problems += told
    return digest


def _from_file(source: RecordSource) -> Record:
    return Record.model_validate(items(Path(source.path))[source.position])


def _board(entries: Sequence[RankedEntry], attacks: Mapping[str, PluginInfo], problems: tuple[str, ...] = ()) -> Board:
    frame = frame_of(entries)
    frame.to_json(orient="records", double_precision=15)  # what cannot be written cannot be shown either
    keys = {entry.key: entry for entry in entries}
    return Board(frame, _by_scope(frame, entries), keys, haystack(frame), dict(attacks), problems)


def _by_scope(frame: pd.DataFrame, entries: Sequence[RankedEntry]) -> dict[Scope, pd.DataFrame]:
    """The rows of each scope: they stand together, so that a slice does and nothing is copied."""
    found, start = {}, 0
    for scope, members in groupby(entries, key=lambda entry: entry.scope):
        end = start + len(list(members))
        found[scope] = frame.iloc[start:end]
        start = end
    return found


def build(records: Iterable[Record]) -> Board:
    """The board of some records in memory."""
    attacks: dict[str, PluginInfo] = {}
    runs = []
    for record in records:
        attacks.update(record.attacks)
        runs.append(Run.of(record))
    return _board(rank_runs(runs), attacks)


def library(url: str | None = None, folder: Path | None = None) -> Library:
    """The library of a store and of a folder of ``*.json`` files (one record, or a list of them, each); one a process.

    ``url``: path or URL of the store; default the environment's FACEVEIL_STORE_URL, else the home's.  ``folder``: default the
    environment's FACEVEIL_RECORDS, else the records that ship with the project.

    Raises:
        StoreError: the store cannot be opened.
    """
    folder = folder or Path(os.environ.get("FACEVEIL_RECORDS") or RECORDS).expanduser()
    return _library(url or store_location(), folder)


@lru_cache(maxsize=8)
def _library(url: str, folder: Path) -> Library:
    return Library(Store(url), folder)


def load(url: str | None = None, folder: Path | None = None) -> Board:
    """The board of :func:`library`."""
    return library(url, folder).board()
