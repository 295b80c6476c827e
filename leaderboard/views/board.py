"""The board: who leaks how little at what utility, ranked, filtered, to be downloaded."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import streamlit as st

from benchmark.interfaces import FaceVeilError, content_hash
from leaderboard import charts, table
from leaderboard.frame import FAMILIES, Board, load
from leaderboard.views.entry import show_entry, theme

PURPOSE = "How much a face-recognition backbone gives away about the faces it was trained on, and what a defence costs."
DEFAULT_TRACK = "synthetic-64"
BOARDS = {"verified": "Verified", "weights": "Weights only"}
# how the table is sorted: columns, and which of them ascend
SORTS = {
    "Rank": (["rank", "entry"], [True, True]),
    "Utility": (["utility"], [False]),
    "Leakage": (["leakage"], [True]),
    "Newest": (["created"], [False]),
    "Name": (["entry"], [True]),
}
_SETTING = ["protocol_version", "data_digest", "split_digest"]


def page() -> None:
    """Draws the page."""
    st.title("FaceVeil", anchor=False)
    st.markdown(PURPOSE)
    try:
        board = load()
    except FaceVeilError as error:
        st.error("The store of records cannot be read.", icon=":material/error:")
        st.code(str(error), language=None, wrap_lines=True)
        return
    if board.problems:
        st.warning("Some record files could not be read and are not shown:", icon=":material/error:")
        st.code("\n".join(board.problems), language=None, wrap_lines=True)
    if board.frame.empty:
        _empty()
        return
    scope = _scope(board.frame)
    shown = _filters(scope, board.frame)
    if scope["smoke"].any():
        st.warning("Entries of a smoke run are among these: too small to conclude from.", icon=":material/science:")
    if shown.empty:
        st.info("No entry passes the filters. Reset them to see all.", icon=":material/filter_alt_off:")
        return
    ranked, unranked = shown[shown["rank"].notna()], shown[shown["rank"].isna()]
    selected: dict[str, str | None] = {}
    if len(ranked):
        st.altair_chart(charts.pareto(ranked, theme()), width="stretch", alt=charts.pareto_alt(ranked))
        selected["ranked"] = _table(ranked, "ranked", table.RANKED)
        st.caption(
            "Select a row to see its details below. **Rank 1** are the entries that no other significantly dominates: no other "
            "is at least as good on both axes and significantly better on one. **=** marks a tie."
        )
    if len(unranked):
        st.subheader("Not ranked", anchor=False)
        selected["unranked"] = _table(unranked, "unranked", table.UNRANKED)
    show_entry(board.entries[_chosen(selected, shown, board)])
    _reading()


def _empty() -> None:
    st.info("There are no results yet. This command makes some:", icon=":material/rocket_launch:")
    st.code("faceveil quickstart", language="bash")
    st.caption(
        "It trains, attacks and ranks four entries in about five minutes on two cores. Then reload this page. "
        "To open another store: `faceveil leaderboard --store PATH`."
    )


def _scope(frame: pd.DataFrame) -> pd.DataFrame:
    """The entries of the chosen track, board, protocol and split: those that are ranked against each other."""
    linked = _linked(frame)
    with st.container(horizontal=True, gap="medium"):
        tracks = sorted(frame["track"].unique())
        first = linked.get("track", DEFAULT_TRACK if DEFAULT_TRACK in tracks else tracks[0])
        track = st.selectbox("Track", tracks, index=tracks.index(first), key="track", bind="query-params", width=260)
        frame = frame[frame["track"] == track]
        boards = [name for name in BOARDS if (frame["board"] == name).any()]
        first = linked.get("board") if linked.get("board") in boards else boards[0]
        chosen = st.segmented_control(
            "Board",
            boards,
            default=first,
            required=True,
            format_func=BOARDS.get,
            key="board",
            bind="query-params",
            help="Verified entries were re-trained by the evaluator. Nobody can prove what others' weights were trained on: "
            "they are ranked apart.",
        )
        frame = frame[frame["board"] == chosen]
        settings = {_setting(row): row for row in frame[_SETTING].drop_duplicates().itertuples(index=False)}
        if len(settings) > 1:
            names = sorted(settings, reverse=True)
            first = names.index(linked["setting"]) if linked.get("setting") in names else 0
            name = st.selectbox("Protocol and data", names, index=first, key="setting", bind="query-params", width=330)
            frame = frame[(frame[_SETTING] == list(settings[name])).all(axis=1)]
    return frame


def _linked(frame: pd.DataFrame) -> dict[str, str]:
    """Where the entry is that the link named with which the reader came: a link to an entry needs to name nothing else."""
    asked = st.session_state.setdefault("came_for", st.query_params.get("entry"))
    found = frame[frame["key"] == asked]
    if found.empty:
        return {}
    row = next(found.itertuples())
    return {"track": row.track, "board": row.board, "setting": _setting(row)}


def _setting(row: Any) -> str:
    return f"protocol {row.protocol_version}, data {row.data_digest[:8]}, split {row.split_digest[:8]}"


def _filters(scope: pd.DataFrame, everything: pd.DataFrame) -> pd.DataFrame:
    """The entries that pass the filters, sorted.  Every filter lives in the URL; how many pass stands beside them."""
    families = [name for name in FAMILIES.values() if name in set(scope["family"])]
    with st.container(horizontal=True, gap="medium"):
        hint = "Name, defence, team, attack"
        text = st.text_input("Search", key="q", type="search", placeholder=hint, live=True, bind="query-params", width=260)
        chosen = st.pills("Defence", families, selection_mode="multi", key="family", bind="query-params", wrap=True)
        sort = st.selectbox("Sorted by", list(SORTS), key="sort", bind="query-params", width=130)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        left = st.container(horizontal=True, vertical_alignment="center", width="content", gap="medium")
        right = st.container(horizontal=True, width="content")
    count = left.container(width="content")
    help = "Hides entries whose evaluation is unfinished."
    complete = left.toggle("Complete only", key="complete", bind="query-params", help=help)
    left.button("Reset", icon=":material/restart_alt:", type="tertiary", on_click=_reset)
    shown = scope[_matches(scope, text or "")]
    if chosen:
        shown = shown[shown["family"].isin(chosen)]
    if complete:
        shown = shown[shown["complete"]]
    columns, ascending = SORTS[sort]
    shown = shown.sort_values(columns, ascending=ascending, na_position="last", kind="stable").reset_index(drop=True)
    count.markdown(_count(shown, scope, everything))
    with right:
        _downloads(shown)
    return shown


def _count(shown: pd.DataFrame, scope: pd.DataFrame, everything: pd.DataFrame) -> str:
    track, board = scope["track"].iloc[0], scope["board"].iloc[0]
    elsewhere = int(((everything["track"] == track) & (everything["board"] != board)).sum())
    note = f" · {elsewhere} on the other board" if elsewhere else ""
    version = re.sub(r"[^A-Za-z0-9.]", "", scope["protocol_version"].iloc[0])
    return f"**{len(shown)} of {len(scope)} entries**{note} · protocol {version}"


def _matches(frame: pd.DataFrame, text: str) -> pd.Series:
    """Rows that contain every word of the text somewhere."""
    columns = frame[["entry", "defense", "family", "team", "leakage_attack", "flags", "backbone"]].astype(str)
    whole = columns.agg(" ".join, axis=1).str.casefold()
    found = pd.Series(True, index=frame.index)
    for word in text.casefold().split():
        found &= whole.str.contains(word, regex=False)
    return found


def _reset() -> None:
    st.session_state.update(q="", family=[], complete=False, sort="Rank")


def _downloads(shown: pd.DataFrame) -> None:
    name = "faceveil"
    if len(shown):
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"faceveil-{shown['track'].iloc[0]}-{shown['board'].iloc[0]}")
    _download("CSV", table.to_csv(shown), f"{name}.csv", "text/csv")
    _download("JSON", table.to_json(shown), f"{name}.json", "application/json")


def _download(label: str, data: str, name: str, mime: str) -> None:
    text = f"What is shown, as {label}, every column."
    st.download_button(label, data, name, mime, icon=":material/download:", on_click="ignore", help=text)


def _table(frame: pd.DataFrame, name: str, columns: tuple[str, ...]) -> str | None:
    """The entries as a table; returns the key of the selected one."""
    keys = list(frame["key"])
    asked = st.query_params.get("entry")
    event = st.dataframe(
        table.printed(frame)[list(columns)],
        column_config={column: table.CONFIG[column] for column in columns},
        hide_index=True,
        height="auto" if len(frame) <= 14 else 540,
        key=f"table_{name}_{content_hash(keys)}",  # other rows are another table: selections are positions
        on_select=lambda: st.session_state.update(touched=name),
        selection_mode="single-row",
        selection_default={"selection": {"rows": [keys.index(asked)] if asked in keys else []}},
        placeholder="–",
        alt=f"Table of {len(frame)} {name} entries.",
    )
    rows = event.selection.rows
    return keys[rows[0]] if rows else None


def _chosen(selected: dict[str, str | None], shown: pd.DataFrame, board: Board) -> str:
    """The entry to be detailed: the one selected in the table touched last, else the URL's, else the first."""
    asked = st.query_params.get("entry")
    if asked and asked not in board.entries:
        st.info("The entry that the link names is not on this board.", icon=":material/link_off:")
    key = selected.get(st.session_state.get("touched", ""))
    if key and key != asked:
        st.query_params["entry"] = key
    return key or (asked if asked in set(shown["key"]) else shown["key"].iloc[0])


def _reading() -> None:
    """What the numbers mean."""
    with st.expander("How to read this board", icon=":material/menu_book:"):
        st.markdown(_READING)


_READING = """
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
