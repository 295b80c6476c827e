"""The board's filters: each lives in the address, and how many entries pass stands beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from benchmark.records.runs import FAMILIES
from leaderboard.board.columns import SORTS
from leaderboard.board.library import Board
from leaderboard.tables import columns

ROWS = 500  # shown at once
PAUSE = "50ms"  # in typing, after which the words are looked for
BY_RANK = "Rank"  # the order in which entries come
DEFAULT_COLUMNS = [columns.LABELS[name] for name in columns.DEFAULT]


@dataclass(frozen=True)
class Shown:
    """What passes the filters, sorted; which columns are asked for; and which rows fit on the page."""

    frame: pd.DataFrame
    columns: tuple[str, ...]
    first: int
    last: int

    @property
    def rows(self) -> pd.DataFrame:
        """The rows on this page."""
        return self.frame.iloc[self.first : self.last]


@dataclass(frozen=True)
class Asked:
    """What the reader asks for."""

    text: str
    families: list[str]
    complete: bool
    sort: str
    columns: tuple[str, ...]


def search_box() -> str:
    """The words that are searched for."""
    hint = "Name, defence, team, attack"
    options: dict[str, Any] = {"live": PAUSE, "bind": "query-params", "width": 230}
    return st.text_input("Search", key="q", type="search", placeholder=hint, **options) or ""


def view_box() -> tuple[str, bool, tuple[str, ...]]:
    """The sort key, whether complete entries only, and the columns."""
    labels = {columns.LABELS[name]: name for name in columns.OPTIONAL}
    with st.popover("View", icon=":material/tune:", help="Sorting, complete entries only, columns"):
        sort = st.selectbox("Sorted by", [BY_RANK, *SORTS], key="sort", bind="query-params")
        help = "Hides entries whose evaluation is unfinished."
        complete = st.toggle("Complete only", key="complete", bind="query-params", help=help)
        picked = st.multiselect(
            "Columns beside rank and defence", list(labels), DEFAULT_COLUMNS, key="columns", bind="query-params"
        )
        st.caption("Hover over the head of a column to read what it says.")
    return sort, complete, tuple(labels[label] for label in picked)


def chips(scope: pd.DataFrame) -> list[str]:
    """The families of defences that are asked for; none: all."""
    among = set(scope["family"].unique())
    present = [name for name in FAMILIES.values() if name in among]
    return list(
        st.pills(
            "Defence",
            present,
            selection_mode="multi",
            key="family",
            bind="query-params",
            wrap=True,
            label_visibility="collapsed",
        )
    )


def reset_button() -> None:
    """Takes back every filter, the sorting and the columns."""
    st.button("Reset", icon=":material/restart_alt:", type="tertiary", on_click=_reset)


def _reset() -> None:
    st.session_state.update(q="", family=[], complete=False, sort=BY_RANK, columns=DEFAULT_COLUMNS)


def select(scope: pd.DataFrame, board: Board, asked: Asked) -> Shown:
    """Filters and sorts; where more rows pass than fit on the page, lets the reader turn the pages."""
    frame = scope
    if asked.text.strip():
        frame = scope[_matches(board.haystack.loc[scope.index[0] : scope.index[-1]], asked.text)]
    if asked.families:
        frame = frame[frame["family"].isin(asked.families)]
    if asked.complete:
        frame = frame[frame["complete"]]
    if asked.sort in SORTS:
        column, sorting = SORTS[asked.sort]
        frame = frame.sort_values(column, ascending=sorting.ascending, na_position="last", kind="stable")
    pages = max(1, -(-len(frame) // ROWS))
    number = 1
    if pages > 1:
        number = st.pagination(pages, key="rows", bind="query-params")
    return Shown(frame, asked.columns, (number - 1) * ROWS, min(number * ROWS, len(frame)))


def _matches(haystack: pd.Series, text: str) -> pd.Series:
    """Rows that contain every word of the text somewhere."""
    found = pd.Series(True, index=haystack.index)
    for word in text.casefold().split():
        found &= haystack.str.contains(word, regex=False)
    return found


def count(shown: Shown, scope: pd.DataFrame, board: Board, asked: Asked) -> str:
    """``12 of 40 entries``, and what else is not on the page."""
    track, name = scope["track"].iloc[0], scope["board"].iloc[0]
    parts = [f"**{len(shown.frame):,} of {len(scope):,} entries**"]
    if shown.last - shown.first < len(shown.frame):
        parts.append(f"rows {shown.first + 1:,} to {shown.last:,} shown")
    elsewhere = sum(len(rows) for other, rows in board.scopes.items() if other.track == track and other.board != name)
    if elsewhere:
        parts.append(f"{elsewhere:,} on the other board")
    parts += ["complete only"] if asked.complete else []
    version = re.sub(r"[^A-Za-z0-9.]", "", scope["protocol_version"].iloc[0])
    order = SORTS[asked.sort][1].words if asked.sort in SORTS else "rank, then utility"
    return " · ".join([*parts, f"sorted by {order}", f"protocol {version}"])
