"""``faceveil rank``: what the board says, as tables: the store's records and those that ship with the project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.output import Json, emit, legend, numbered, out, table
from benchmark.cli.submit import StoreOption
from benchmark.interfaces import FaceVeilError
from benchmark.records.results import interval_text

if TYPE_CHECKING:
    from benchmark.records.ranking import RankedEntry


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("rank")(rank_)


def rank_(
    track: Annotated[str, typer.Option(help="See `faceveil list tracks`.  Default: the one on which the board opens.")] = "",
    protocol: Annotated[str, typer.Option(help="Only records of this protocol version.")] = "",
    store: StoreOption = None,
    json: Json = False,
) -> None:
    """Ranks the records of a track by privacy and utility: a table for each protocol version and board."""
    from benchmark.protocol.tracks import get_track
    from leaderboard.board.library import load

    board = load(store)
    if not track and board.tracks:
        track = board.tracks[0]
    entries = [e for e in board.entries.values() if e.scope.track == get_track(track).name] if track else []
    entries = [e for e in entries if protocol in ("", e.scope.protocol_version)]
    if not entries:
        of_track = f" of track {track!r}" if track else ""
        of_version = f" under protocol {protocol}" if protocol else ""
        there = ", ".join(board.tracks) or "none"
        raise FaceVeilError(
            f"no record{of_track}{of_version} in the store or with the project (there are of: {there}); "
            "run `faceveil quickstart`, or `faceveil evaluate`."
        )
    tables = ranking(entries)
    emit({"track": track, "tables": tables}, json, lambda: show(tables))


def ranking(entries: Sequence[RankedEntry]) -> list[dict[str, Any]]:
    """Ranked entries as plain data: a table for each scope, the newest protocol version and the verified board first."""
    from benchmark.records.ranking import scope_gate
    from benchmark.records.runs import BOARDS

    runs = [run for entry in entries for run in entry.runs]
    tables = []
    for scope, members in groupby(entries, key=lambda entry: entry.scope):
        gate = scope_gate(scope, runs)
        gain = _triple(gate.gain.value, gate.gain.low, gate.gain.high)
        tables.append({
            **asdict(scope),
            "value_gate": {"passed": gate.passed, "gain": gain, "reason": gate.reason},
            "entries": [_row(entry) for entry in members],
        })  # fmt: skip
    tables.sort(key=lambda t: BOARDS.index(t["board"]))
    tables.sort(key=lambda t: _version(t["protocol_version"]), reverse=True)
    return tables


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _row(entry: RankedEntry) -> dict[str, Any]:
    """Every column of the board by its name there; a measured one as [value, low, high]."""
    from leaderboard.board.columns import TABLE
    from leaderboard.board.facts import Facts

    facts = Facts(entry)
    found = {}
    for column in TABLE:
        value = column.value(facts)
        found[column.name] = _triple(*value[:3]) if len(column.parts) > 1 else value
    return found


def _triple(value: float | None, low: float | None, high: float | None) -> list[float | None] | None:
    return None if value is None else [value, low, high]


WIDE = 118  # columns of a terminal from which on everything fits


def show(tables: Sequence[dict[str, Any]]) -> None:
    """One table per scope: numbers first; in a narrow terminal the two axes alone."""
    wide = out.width >= WIDE
    for found in tables:
        attacks = numbered(_by(row) for row in found["entries"] if row["leakage_attack"])
        columns = ["rank", "TAR@FAR=1e-3", "leakage", "by", *(["gain over public", "TPR@0.1 %"] if wide else []), "entry"]
        rows = [_cells(row, attacks, wide) for row in found["entries"]]
        out.print(
            f"{found['track']}, protocol {found['protocol_version']}, {found['board']} entries", style="bold", markup=False
        )
        table("", columns, rows, whole=range(len(columns) - 1))
        legend("by, the strongest attack", attacks)
        _remarks(found)


def _by(row: dict[str, Any]) -> str:
    return f"{row['leakage_attack']} ({row['leakage_contrast']})"


def _cells(row: dict[str, Any], attacks: Mapping[str, str], wide: bool) -> list[str]:
    def text(triple: Sequence[float | None] | None) -> str:
        return interval_text(*triple) if triple else "–"

    rank = "–" if row["rank"] is None else f"{row['rank']}{' =' if row['tied'] else ''}"
    name = _name(row) + (" (control)" if row["control"] else "") + (" !" if row["bought_nothing"] else "")
    return [
        rank,
        text(row["utility"]),
        text(row["leakage"]) + (" n.f." if row["nothing_found"] else ""),
        attacks.get(_by(row), "–"),
        *([text(row["gain"]), text(row["tpr_at_01"])] if wide else []),
        name,
    ]


def _name(row: dict[str, Any]) -> str:
    return str(row["title"] or row["entry"])


def _unranked(rows: Sequence[dict[str, Any]], of_all: str) -> list[str]:
    """Why entries have no rank, each reason once with those it holds for; ``of_all``: the one that stands below already."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        own = row["reasons"].replace(of_all, "").strip("; ") if of_all else row["reasons"]
        if own:
            by_reason.setdefault(own, []).append(_name(row))
    found = []
    for reason, names in by_reason.items():
        who = f"all {len(rows)} entries" if len(names) == len(rows) > 1 else ", ".join(dict.fromkeys(names))
        found.append(f"not ranked: {who}: {reason}")
    return found


def _remarks(found: dict[str, Any]) -> None:
    """What the signs in the table mean, where they occur, and the value gate."""
    rows = found["entries"]
    gate = found["value_gate"]
    failed = gate["reason"] if gate["passed"] is False else ""
    for text in _unranked(rows, failed):
        out.print(text, markup=False)
    if any(row["tied"] for row in rows):
        out.print("entries of one rank (=): none significantly dominates another; the best recognition first")
    out.print("leakage: membership advantage, TPR - FPR, of the strongest attack; 95 % intervals over people")
    if any(row["nothing_found"] for row in rows):
        out.print("n.f.: nothing found; it counts as 0, and the upper end of its interval is not ruled out")
    if any(row["bought_nothing"] for row in rows):
        out.print("!: bought nothing with the private photos: recognises significantly less than public_only")
    if gate["passed"]:
        out.print(f"value gate passed: private photos are worth {interval_text(*gate['gain'])}")
    elif failed:
        out.print(f"no entry is ranked: {failed}", markup=False)
    elif gate["reason"]:
        out.print(f"value gate {gate['reason']}", markup=False)
