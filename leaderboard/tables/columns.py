"""How entries are printed: the table on the page, and the files to be downloaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import pandas as pd
import streamlit as st

from benchmark.records.exporting import harmless
from leaderboard.board.column import Shown
from leaderboard.board.columns import COLUMNS, TABLE
from leaderboard.board.frame import rank_text


def to_csv(frame: pd.DataFrame) -> str:
    """Every column of :data:`COLUMNS`.  Text that a spreadsheet would run as a formula gets an apostrophe in front."""
    result: str = frame.map(harmless).to_csv(index=False)
    return result


def to_json(frame: pd.DataFrame) -> str:
    """``{"columns": {name: explanation}, "entries": [{name: value}]}``, missing values as null."""
    rows = json.loads(frame.to_json(orient="records", double_precision=15))
    return json.dumps({"columns": COLUMNS, "entries": rows}, indent=1, ensure_ascii=False)


def _name(column: str, shown: Shown) -> str:
    return shown.name or column


# every column of the page by its name there, in the page's order: (the column of the frame, how it is shown)
_PAGE: dict[str, tuple[str, Shown]] = {
    _name(column.name, shown): (column.name, shown)
    for wanted in (lambda s: s.fixed, lambda s: s.lead, lambda s: not (s.fixed or s.lead))
    for column in TABLE
    for shown in column.shown
    if wanted(shown)
}


def printed(frame: pd.DataFrame, names: Sequence[str] = tuple(_PAGE)) -> pd.DataFrame:
    """The frame with these columns as the page's table has them: places, links, and intervals as text."""
    return frame.assign(**{name: _cells(frame, *_PAGE[name]) for name in names})


def _cells(frame: pd.DataFrame, column: str, shown: Shown) -> Any:
    """The cells of one column."""
    values = frame[column]
    match shown.kind:
        case "place":  # padded with blanks, so that the place sorts as text
            return [rank_text(r, t).rjust(4 + 2 * t) for r, t in zip(values, frame["tied"], strict=True)]
        case "link":  # its text is what follows the mark; relative, so that it holds below a proxy's path, too
            return [f"submission?entry={k}#{quote(t, safe=' ')}" for k, t in zip(frame["key"], values, strict=True)]
        case "mark":
            return [shown.format if value else "" for value in values]
        case "date":
            return values.str[:10]
        case "flags":
            return ["▲ " + flags if flags else "" for flags in values]
        case "change":
            return [_change(*row) for row in zip(values, frame[f"{column}_low"], frame[f"{column}_high"], strict=True)]
        case "interval":
            return [_interval(*row) for row in zip(*(frame[f"{column}{end}"] for end in ENDS), strict=True)]
        case _:
            return values


ENDS = ("_low", "_high", "_n", "_unit")


def _interval(low: float, high: float, n: int, unit: str) -> str:
    return "–" if pd.isna(low) or pd.isna(high) else f"[{low:.3f}, {high:.3f}]  n = {n:,} {unit}"


def _change(value: float, low: float, high: float) -> str:
    """``+0.032 [-0.010, +0.071]``; empty where it was not measured."""
    if pd.isna(value):
        return ""
    return f"{value:+.3f}" if pd.isna(low) or pd.isna(high) else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _config(column: str, shown: Shown, label: str, width: Any, pinned: bool | None = None) -> Any:
    """How the page's table draws a column."""
    make = partial(_DRAWN.get(shown.kind, st.column_config.TextColumn), label, help=COLUMNS[column], width=width, pinned=pinned)
    if shown.kind == "number":
        return make(format=shown.format)
    return make(display_text=r"#(.*)$") if shown.kind == "link" else make()


_DRAWN: dict[str, Any] = {"number": st.column_config.NumberColumn, "link": st.column_config.LinkColumn}
CONFIG = {name: _config(c, shown, shown.label, shown.width, shown.pinned or None) for name, (c, shown) in _PAGE.items()}
LABELS = {name: shown.label for name, (_, shown) in _PAGE.items()}
OPTIONAL = tuple(name for name, (_, shown) in _PAGE.items() if not shown.fixed)
DEFAULT = tuple(name for name in OPTIONAL if not _PAGE[name][1].hidden)
_LETTER, _BORDER, _LEAST, _MOST = 6.8, 24, 150, 340  # pixels of a name's column


def config(names: Sequence[str], titles: pd.Series) -> dict[str, Any]:
    """How the page's table draws these columns.  ``titles``: the names that have to fit into theirs."""
    longest = int(titles.str.len().max()) if len(titles) else 0
    column, shown = _PAGE["title"]
    width = int(min(_MOST, max(_LEAST, _LETTER * longest + _BORDER)))
    return {name: CONFIG[name] for name in names} | {"title": _config(column, shown, shown.label, width, True)}


def _empty(frame: pd.DataFrame, name: str) -> bool:
    """Whether a column that may be empty says nothing of any entry."""
    column, shown = _PAGE[name]
    return shown.may_be_empty and bool(frame[column].isna().all())


def columns(frame: pd.DataFrame, chosen: Sequence[str]) -> list[str]:
    """The columns of a table of ranked or of unranked entries, in the page's order; flags where there are any."""
    first = ["place", "title"] if frame["rank"].notna().all() else ["title", "reasons"]
    rest = [name for name in OPTIONAL if name in chosen and not _empty(frame, name)]
    if "flags" in rest:
        rest.remove("flags")
        first += ["flags"] if (frame["flags"] != "").any() else []
    return first + rest
