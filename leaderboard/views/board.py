"""The board: who leaks how little at what utility, ranked, filtered, to be downloaded."""

from __future__ import annotations

import re
from functools import partial

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from benchmark.interfaces import content_hash
from leaderboard.board import answer
from leaderboard.board.library import Board
from leaderboard.tables import columns, narrow
from leaderboard.widgets import filters, links
from leaderboard.widgets.filters import Asked, Shown
from leaderboard.widgets.scope import announce_smoke, choose_scope, open_board, phone, theme

ROW = 35  # pixels
WHOLE = 25  # rows that stand in sight; more scroll inside their table
PURPOSE = "How much a face-recognition backbone gives away about the faces it was trained on, and what a defence costs."


def page() -> None:
    """Draws the page."""
    st.title("FaceVeil", anchor=False)
    st.markdown(PURPOSE)
    board = open_board()
    first = st.container()
    with st.container(horizontal=True, gap="small", vertical_alignment="top"):
        scope = choose_scope(board)
        text = filters.search_box()
        with st.container(width="content", gap=None):
            st.space(28)  # beside labelled widgets
            sort, complete, chosen = filters.view_box()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        families = filters.chips(scope)
        filters.reset_button()
    asked = Asked(text, families, complete, sort, chosen)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        said = st.container(width="content")
        actions = st.container(horizontal=True, width="content", gap="xsmall")
    first.html(board.once(("answer", scope["key"].iloc[0]), lambda: _answer(board, scope)))
    shown = filters.select(scope, board, asked)
    said.markdown(filters.count(shown, scope, board, asked))
    announce_smoke(scope)
    selected = _tables(shown)
    _remember(selected)
    _actions(actions, shown, selected)
    _reading()


def _answer(board: Board, scope: pd.DataFrame) -> str:
    return answer.markup(answer.answer([board.entries[key] for key in scope["key"]]))


def _tables(shown: Shown) -> list[str]:
    """The ranked and the unranked rows; returns the keys of those that are ticked."""
    rows = shown.rows
    if rows.empty:
        st.info("No entry passes the filters. Reset them to see all.", icon=":material/filter_alt_off:")
        return []
    ranked, unranked = rows[rows["rank"].notna()], rows[rows["rank"].isna()]
    selected = []
    controls = rows[rows["control"]]
    if len(controls):
        selected += _table(controls, "controls", columns.columns(ranked, shown.columns), rows["title"])
        st.subheader("Defences", anchor=False)
        ranked, unranked = (part[~part["control"]] for part in (ranked, unranked))
    if len(ranked):
        selected += _table(ranked, "ranked", columns.columns(ranked, shown.columns), rows["title"])
        st.caption(f"{RANKS} {TAPS if phone() else TICKS}")
    if len(unranked):
        st.subheader("Not ranked", anchor=False)
        selected += _table(unranked, "unranked", columns.columns(unranked, shown.columns), rows["title"])
    return selected


def _table(frame: pd.DataFrame, name: str, names: list[str], titles: pd.Series) -> list[str]:
    keys = list(frame["key"])
    if phone():  # a tap on the name opens the entry
        st.html(narrow.table(frame, f"{name} entries", theme()))
        return []
    key = f"table_{name}_{content_hash(keys)}"  # other rows are another table: selections are positions
    event = st.dataframe(
        columns.printed(frame, names)[names],
        column_config=columns.config(names, titles),
        hide_index=True,
        height=ROW * (len(frame) + 1) + 3 if len(frame) <= WHOLE else 600,
        key=key,
        selection_default={"selection": {"rows": _ticks(key, keys)}},
        on_select="rerun",
        selection_mode="multi-row",
        placeholder="–",
        alt=f"Table of {len(frame)} {name} entries.",
    )
    return [keys[row] for row in event.selection.rows]


def _ticks(table: str, keys: list[str]) -> list[int]:
    """The rows that were ticked when the reader left the page; for a table that is drawn already what it began with."""
    begun = f"ticks_{table}"
    if table not in st.session_state:
        ticked = st.session_state.get("ticked", ())
        st.session_state[begun] = [row for row, key in enumerate(keys) if key in ticked]
    return list(st.session_state.get(begun, ()))


def _remember(selected: list[str]) -> None:
    """Keeps the filters and the ticks for the way back."""
    st.session_state["ticked"] = selected
    st.session_state["board_query"] = {name: st.query_params.get_all(name) for name in st.query_params}


def _actions(place: DeltaGenerator, shown: Shown, selected: list[str]) -> None:
    """What can be done with the ticked rows, and with all that pass."""
    if not phone():  # there a tap on the name opens the entry, and the entry's page compares
        _on_ticked(place, selected)
    name = "faceveil"
    if len(shown.frame):
        first = shown.frame.iloc[0]
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"faceveil-{first['track']}-{first['board']}")
    _download(place, "CSV", shown.frame, f"{name}.csv", "text/csv")
    _download(place, "JSON", shown.frame, f"{name}.json", "application/json")


def _on_ticked(place: DeltaGenerator, selected: list[str]) -> None:
    if place.button("Open", icon=":material/open_in_new:", disabled=len(selected) != 1, help="Tick one row to open it."):
        links.go("submission", entry=selected[0])
    help = "Tick two to four rows to see them side by side."
    if place.button("Compare", icon=":material/compare_arrows:", disabled=not 2 <= len(selected) <= 4, help=help):
        links.go("compare", entry=selected)


def _download(place: DeltaGenerator, label: str, frame: pd.DataFrame, name: str, mime: str) -> None:
    """Every column of what passes the filters, written when it is asked for."""
    write = columns.to_csv if label == "CSV" else columns.to_json
    data = partial(write, frame)
    text = f"All that passes the filters, as {label}, every column."
    place.download_button(label, data, name, mime, on_click="ignore", help=text, key=f"save_{label}")


RANKS = (
    "**Rank 1** are the entries that no other significantly dominates: none is at least as good on both axes and "
    "significantly better on one. **=** marks a tie."
)
TICKS = (
    "Tick rows to open or to compare them. A sorting chosen under *View* stands in the link; a click on the head of a column "
    "sorts for yourself alone."
)
TAPS = "A tap on a name opens its entry. A sorting chosen under *View* stands in the link."


def _reading() -> None:
    """What the numbers mean."""
    with st.expander("How to read this board", icon=":material/menu_book:"):
        st.markdown(READING)


READING = """
- **Utility** is TAR@FAR=1e-3: of all pairs of photos of one person, the share that is accepted at a threshold at which at
  most one in a thousand pairs of two people is. These people were never trained on.
- **Leakage** is the membership advantage, TPR − FPR, of the attack that leaks most: 0 means that it guesses, 1 that it
  knows. The attack and its threshold are chosen on one half of the people and reported on the other.
- **Contrasts.** *Sample* asks which photos of a person were trained on; *identity* asks which people were. The leakage is
  the larger of the two. AUC stands beside it for the strongest attack on each; 0.5 is chance. TPR@1 % is the share of
  members found at one false alarm in a hundred, empty where there are too few photos to say.
- **Intervals** are 95 %, bootstrapped over people, never over photos of one person as if they were independent, and over
  training seeds.
- **Ranks** are layers, not a blended score. Entries of different tracks, protocol versions, data or splits never share a
  ranking, nor do verified and weights-only entries.
- **Claimed ε** is what the submitter states; the board does not certify it.
"""
