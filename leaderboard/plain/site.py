"""Writes the plain board: ``faceveil leaderboard --static OUT``."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import PROTOCOL_VERSION
from benchmark.records.ranking import RankedEntry
from benchmark.records.record import Record
from benchmark.records.runs import BOARDS, Run, Scope
from benchmark.runtime.atomic import write_text
from benchmark.runtime.unfinished import PASSING, remove_abandoned
from benchmark.service.store import record_id
from leaderboard.board.galleries import generator_samples, pictures
from leaderboard.board.library import Board
from leaderboard.board.methods import methods
from leaderboard.board.release import addresses, version
from leaderboard.plain import figures, pages
from leaderboard.tables import columns

MANIFEST = "files.json"  # sha256 of every file: what an earlier board left is known by it


def write(out: Path, board: Board, every: Callable[[Iterable[Run]], Iterator[tuple[Run, Record]]]) -> list[str]:
    """Writes every page, record and plot below ``out``; returns their names.

    Args:
        out: a folder that holds nothing yet, or an earlier plain board, which is replaced.
        board: with at least one entry.
        every: gives the whole records of runs, as :meth:`leaderboard.board.library.Library.every`.

    Raises:
        FaceVeilError: ``out`` holds other things, or there is no entry.
    """
    if board.frame.empty:
        raise FaceVeilError("there is no record to show; run `faceveil quickstart`, or name another --store.")
    remove_abandoned(out)
    before = _earlier(out)
    _note(out, dict.fromkeys(before, ""))  # at once: what is broken off is written anew by the next run
    site = _Site(out, board)
    site.rankings()
    site.entries(every)
    site.methods()
    site.downloads()
    samples = []
    for number, found in enumerate(generator_samples()):
        site.keep(f"pictures/generators/{number}.png", found.png)
        samples.append({"name": found.name, "file": f"pictures/generators/{number}.png"})
    site.page("about.html", "about.html", "", samples=samples, **pages.about())
    site.keep("style.css", (Path(__file__).parent / "style.css").read_text(encoding="utf-8"))
    for name in before - set(site.files):
        (out / name).unlink(missing_ok=True)
    _note(out, site.files)
    return list(site.files)


def _note(out: Path, files: Mapping[str, str]) -> None:
    write_text(out / MANIFEST, json.dumps({"files": files}, indent=1))


def _earlier(out: Path) -> set[str]:
    """The files of an earlier board in the folder.

    Raises:
        FaceVeilError: there are files and none says that they are of a board.
    """
    if not out.exists() or (out.is_dir() and all(file.suffix == PASSING for file in out.iterdir())):
        return set()
    try:
        names = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {name for name in names if (out / name).resolve().is_relative_to(out.resolve())}
    except (OSError, ValueError, KeyError, TypeError):
        raise FaceVeilError(f"{out} holds other things; name a folder that is empty or does not exist yet.") from None


class _Site:
    """A board on its way into a folder."""

    def __init__(self, out: Path, board: Board) -> None:
        self._out, self._board = out, board
        self.files: dict[str, str] = {}
        self._first = min(board.scopes, key=_importance)
        loader = PackageLoader("leaderboard.plain", "templates")
        self._templates = Environment(
            loader=loader, autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True
        )
        made = time.strftime("%Y-%m-%d", time.gmtime())
        self._always = {"made": made, "records": sum(len(e.runs) for e in board.entries.values())}
        self._always |= {"version": version(), "addresses": addresses(), "protocol": PROTOCOL_VERSION}

    def keep(self, name: str, content: str | bytes) -> None:
        """Writes a file and notes its hash."""
        data = content.encode() if isinstance(content, str) else content
        path = self._out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.write_bytes(data)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self.files[name] = hashlib.sha256(data).hexdigest()

    def page(self, name: str, template: str, root: str, **values: Any) -> None:
        """Writes a page; ``root``: where pages begin, seen from it."""
        self.keep(name, self._templates.get_template(template).render(root=root, **self._always, **values))

    def rankings(self) -> None:
        scopes = sorted(self._board.scopes, key=_importance)
        others = [(pages.scope_name(scope), pages.scope_file(scope, self._first)) for scope in scopes]
        for scope in scopes:
            here = pages.scope_file(scope, self._first)
            root = "../" * here.count("/")
            values = pages.ranking(self._board, scope, root)
            plot_file = f"plots/{Path(here).stem if root else 'front'}.svg"
            drawn = self._board.scopes[scope].dropna(subset=["utility", "leakage"])
            if len(drawn):
                self.keep(plot_file, figures.pareto(drawn, "../"))
            self.page(here, "ranking.html", root, here=here, others=others, plot_file=plot_file, **values)

    def entries(self, every: Callable[[Iterable[Run]], Iterator[tuple[Run, Record]]]) -> None:
        keys = {run.source: key for key, found in self._board.entries.items() for run in found.runs}
        runs = [run for found in self._board.entries.values() for run in found.runs]
        names: dict[str, list[tuple[str, str]]] = {}
        first: dict[str, Record] = {}
        for run, record in every(runs):
            key = keys[run.source]
            found, name = self._board.entries[key], record_file(record)
            self.keep(name, record.model_dump_json())
            text = f"Record of seed {run.seed} as JSON" if len(found.runs) > 1 else "Record as JSON"
            names.setdefault(key, []).append((text, name))
            if run.source == found.runs[0].source:
                first[key] = record
            if len(names[key]) == len(found.runs):
                self._entry(found, first.pop(key), names[key])

    def _entry(self, found: RankedEntry, record: Record, files: list[tuple[str, str]]) -> None:
        shown = [{"stem": path.stem, "file": f"pictures/{found.key}/{path.name}"} for path in pictures(record)]
        for path, picture in zip(pictures(record), shown, strict=True):
            self.keep(picture["file"], path.read_bytes())
        ranking = pages.scope_file(found.scope, self._first)
        values = pages.entry(found, record)
        self.page(f"entries/{found.key}.html", "entry.html", "../", files=files, ranking=ranking, pictures=shown, **values)

    def methods(self) -> None:
        self.page("methods/index.html", "methods.html", "../", **pages.method_list(self._board))
        for key in methods():
            self.page(pages.method_file(key), "method.html", "../", **pages.method(self._board, key, "../"))

    def downloads(self) -> None:
        self.keep("leaderboard.json", columns.to_json(self._board.frame))
        self.keep("leaderboard.csv", columns.to_csv(self._board.frame))


def record_file(record: Record) -> str:
    """Where a whole record stands: below its permanent name."""
    return f"records/{record_id(record)}.json"


def _importance(scope: Scope) -> tuple[Any, ...]:
    """Synthetic-64 first, then the newest protocol, then what the evaluator trained."""
    number = tuple(-int(part) for part in scope.protocol_version.split(".") if part.isdigit())
    place = BOARDS.index(scope.board)
    return (number, place, scope.track != "synthetic-64", scope.track, scope.data_digest, scope.split_digest)
