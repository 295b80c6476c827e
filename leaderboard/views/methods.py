"""A page for each defence and each attack: what it does, its settings, its source, and every record of it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from leaderboard.board.library import Board
from leaderboard.board.methods import KINDS, methods
from leaderboard.charts import pareto
from leaderboard.tables import columns
from leaderboard.widgets import links
from leaderboard.widgets.scope import open_board, page_width, theme, version

SHOWN = ["title", "track", "protocol_version", "board", "utility", "leakage", "found", "utility_interval", "leakage_interval"]
SHOWN += ["leakage_attack"]


def page() -> None:
    """Draws the page."""
    st.title("Methods", anchor=False)
    known = methods()
    names = sorted(known, key=lambda key: (list(KINDS).index(known[key]["kind"]), known[key]["title"].casefold()))
    links.restore("method", names, names[0])
    key = st.selectbox(
        "Defence or attack",
        names,
        format_func=lambda key: f"{known[key]['title']}  ({KINDS[known[key]['kind']].casefold()}, {known[key]['name']})",
        key="method",
        width=460,
    )
    links.remember({"method": key}, {"method": names[0]})
    method = known[key]
    _what(method)
    board = open_board()
    if method["kind"] == "defenses":
        _records(board, method)
    elif method["kind"] == "membership":
        _strength(board, method)


def _what(method: dict[str, Any]) -> None:
    st.subheader(method["title"], anchor=False)
    st.markdown(method["summary"])
    st.caption(method["reference"])
    for number, link in enumerate(method["links"], start=1):
        st.link_button(f"Paper {number}" if len(method["links"]) > 1 else "Paper", link, icon=":material/article:")
    facts = {"family": method["family"], "access": method["access"], "contrasts": ", ".join(method["contrasts"])}
    facts["adaptive attacks"] = ", ".join(method.get("adaptive", ()))
    shown = [f"**{name}**: {text}" for name, text in facts.items() if text]
    if shown:
        st.markdown("  \n".join(shown))
    if method["settings"]:
        table = pd.DataFrame(method["settings"])
        table["default"] = ["" if field["default"] is None else str(field["default"]) for field in method["settings"]]
        st.dataframe(table, hide_index=True, height="auto", alt="The settings.")
    else:
        st.caption("It has no settings.")


def _records(board: Board, method: dict[str, Any]) -> None:
    """Every entry that uses the defence, on every track, and its strengths on the one of the newest protocol with most."""
    frame = board.frame
    used = frame[[method["name"] in names.split(" + ") for names in frame["defense_name"]]]
    used = used.sort_values("protocol_version", key=lambda column: column.map(version), ascending=False, kind="stable")
    st.subheader("Every record of it", anchor="records")
    if used.empty:
        st.info("No entry of this board uses it yet.", icon=":material/inbox:")
        return
    here = [name for name in SHOWN if name in columns.CONFIG]
    config = columns.config(here, used["title"])
    printed = columns.printed(used, here)[SHOWN]
    st.dataframe(printed, column_config=config, hide_index=True, height="auto", alt="Entries that use this defence.")
    newest = used["protocol_version"].iloc[0]
    track, name = used[used["protocol_version"] == newest].groupby(["track", "board"]).size().idxmax()
    alike = (frame["track"] == track) & (frame["protocol_version"] == newest) & (frame["board"] == name)
    among = frame[alike & (frame["control"] | frame["key"].isin(used["key"]))]
    drawn = among.dropna(subset=["utility", "leakage"])
    if len(drawn) > 1:
        st.caption(f"Its strengths and the controls on {track}, protocol {newest}:")
        st.altair_chart(pareto.pareto(drawn, theme(), width=page_width()), width="stretch", alt=pareto.pareto_alt(drawn))


def _strength(board: Board, method: dict[str, Any]) -> None:
    """How often the attack is the strongest, and where to read more."""
    led = board.frame["leakage_attack"].str.split("(").str[0] == method["name"]
    st.subheader("On this board", anchor="records")
    st.markdown(f"It gave the leakage of **{int(led.sum()):,} of {len(board.frame):,}** entries.")
    st.page_link(links.page("attacks"), label="Who resists it: page Attacks")
