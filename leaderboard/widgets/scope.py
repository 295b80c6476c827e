"""What every page begins with: the records, or why there are none; and the scope that the reader has chosen."""

from __future__ import annotations

from typing import Literal

import pandas as pd
import streamlit as st

from benchmark.interfaces import FaceVeilError
from benchmark.records.runs import Scope
from leaderboard.board.library import Board, load
from leaderboard.widgets import links

BOARDS = {"verified": "Verified", "weights": "Weights only", "local": "This machine"}


def open_board() -> Board:
    """The board; where there is none, says why and ends the page."""
    try:
        board = load()
    except FaceVeilError as error:
        st.error("The store of records cannot be read.", icon=":material/error:")
        st.code(str(error), language=None, wrap_lines=True)
        st.stop()
    if board.problems:
        st.warning("Some record files could not be read and are not shown:", icon=":material/error:")
        st.code("\n".join(board.problems), language=None, wrap_lines=True)
    if board.frame.empty:
        _empty()
        st.stop()
    return board


def _empty() -> None:
    st.info("There are no results yet. This command makes some:", icon=":material/rocket_launch:")
    st.code("faceveil quickstart", language="bash")
    st.caption(
        "It trains, attacks and ranks four entries in about five minutes on two cores. Then reload this page. "
        "To open another store: `faceveil leaderboard --store PATH`."
    )


def choose_scope(board: Board) -> pd.DataFrame:
    """The entries of the chosen track, board, protocol and split: those that are ranked against each other.

    The choices are kept from page to page, and stand in the address.
    """
    chosen: dict[str, str] = {}
    defaults: dict[str, str] = {}

    def restored(name: str, options: list[str], default: str) -> list[str]:
        links.restore(name, options, default)
        defaults[name] = default
        return options

    scopes = list(board.scopes)
    tracks = restored("track", sorted(board.tracks), board.tracks[0])
    chosen["track"] = st.selectbox("Track", tracks, key="track", width=168)
    scopes = [scope for scope in scopes if scope.track == chosen["track"]]
    boards = [name for name in BOARDS if name in {scope.board for scope in scopes}]
    board_chosen = st.segmented_control(
        "Board",
        restored("board", boards, boards[0]),
        required=True,
        format_func=lambda name: BOARDS[name],
        key="board",
        help="Verified entries were re-trained by the evaluator. Nobody can prove what others' weights were trained on: "
        "they are ranked apart. This machine: what quickstart ran here, beside what was published.",
    )
    chosen["board"] = board_chosen or boards[0]
    settings = {_setting(scope): scope for scope in scopes if scope.board == chosen["board"]}
    names = sorted(settings, key=lambda name: (version(settings[name].protocol_version), name), reverse=True)
    if len(names) > 1:
        options = restored("setting", names, names[0])
        chosen["setting"] = st.selectbox("Protocol and data", options, key="setting", width=330)
    links.remember(chosen, defaults)
    return board.scopes[settings[chosen.get("setting", names[0])]]


def follow(scope: Scope) -> None:
    """Puts a scope into the address, for :func:`choose_scope` to find: that of an entry to which a link led."""
    links.keep_all({"track": [scope.track], "board": [scope.board], "setting": [_setting(scope)]})


def _setting(scope: Scope) -> str:
    return f"protocol {scope.protocol_version}, data {scope.data_digest[:8]}, split {scope.split_digest[:8]}"


def version(text: str) -> tuple[int, ...]:
    """``0.10`` comes after ``0.9``."""
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in text.split("."))


def theme() -> str:
    """``light`` or ``dark``, as the reader has it."""
    return st.context.theme.type or "light"


def phone() -> bool:
    """Whether the reader's browser is a phone's, which shows four columns and no more."""
    return "Mobi" in (st.context.headers.get("User-Agent") or "")


def page_width() -> int:
    """About the pixels that a chart has across."""
    return 360 if phone() else 1080


def main_button() -> Literal["primary", "secondary"]:
    """The kind of a page's main button.  In the dark theme Streamlit writes white on the light primary colour: 2.3 to 1."""
    return "primary" if theme() == "light" else "secondary"


def announce_smoke(scope: pd.DataFrame) -> None:
    """Says so where entries of a smoke run are among the entries."""
    if scope["smoke"].any():
        st.warning("Entries of a smoke run are among these: too small to conclude from.", icon=":material/science:")
