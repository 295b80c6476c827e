"""Utility against leakage; and what each defence leaks at the same utility."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from benchmark.records.results import interval_text
from leaderboard.board import axes
from leaderboard.board.axes import AXES
from leaderboard.charts import dots, pareto
from leaderboard.widgets.scope import announce_smoke, choose_scope, open_board, page_width, phone, theme

POINTS = 1000  # drawn at most: the front, and the best ranked of the others


def page() -> None:
    """Draws the page."""
    st.title("Utility against leakage", anchor=False)
    board = open_board()
    with st.container(horizontal=True, gap="small", vertical_alignment="top"):
        scope = choose_scope(board)
        name = st.segmented_control(
            "Leakage read as",
            axes.measured(scope) or ["Membership"],
            default=(axes.measured(scope) or ["Membership"])[0],
            required=True,
            key="axis",
            bind="query-params",
        )
    axis = AXES[name]
    announce_smoke(scope)
    frame = axes.on_axis(scope, axis)
    _plot(frame, axis)
    _equal_utility(frame, axis)


def _plot(frame: pd.DataFrame, axis: axes.LeakageAxis) -> None:
    placed = frame[frame["rank"].notna()].dropna(subset=["utility", "leakage"]).sort_values("rank", kind="stable")
    if placed.empty:
        st.info("No ranked entry has a value on this axis.", icon=":material/scatter_plot:")
        return
    shown = placed.head(max(POINTS, int((placed["rank"] == 1).sum())))
    chart = pareto.pareto(shown, theme(), title=f"Leakage, {axis.title}", least=axis.least, width=page_width())
    st.altair_chart(chart, width="stretch", alt=pareto.pareto_alt(shown, axis.title))
    how = "paired bootstrap over people and seeds" if axis.ranked else "intervals that do not overlap"
    left = len(frame) - len(placed)
    notes = [
        f"Better is up and to the right. Filled: the front, entries that no other significantly dominates on these two axes "
        f"({how}). Lines are 95 % intervals. A dot opens its entry; Shift and the wheel zoom, a double click goes back."
    ]
    if nameless := pareto.nameless(chart):
        notes.append(
            f"{nameless:,} of {len(shown):,} {'has' if nameless == 1 else 'have'} no room for a name: point at the dot."
        )
    if not axis.ranked:
        notes.append("The board's ranks are made on membership advantage, not on this axis.")
    if len(shown) < len(placed):
        notes.append(f"{len(shown):,} of {len(placed):,} ranked entries are drawn, the best ranked first.")
    if left:
        notes.append(f"{left:,} unranked {'entry is' if left == 1 else 'entries are'} left out.")
    st.caption(" ".join(notes))


def _equal_utility(frame: pd.DataFrame, axis: axes.LeakageAxis) -> None:
    st.subheader("At the same utility", anchor="equal-utility")
    placed = frame[frame["rank"].notna()].dropna(subset=["utility", "leakage"])
    if placed.empty:
        st.info("No ranked entry has a value on this axis.", icon=":material/straighten:")
        return
    low, high = axes.utility_range(placed)
    if high - low > 0.011:
        middle = round((low + high) / 2, 2)
        utility = st.slider(
            "Recognises at least: TAR@FAR=1e-3", low, high, middle, 0.01, key="tar", bind="query-params", width=460
        )
    else:
        utility = low
    table = axes.at_utility(placed, utility)
    title = f"Leakage, {axis.title}  (← less)"
    chart = dots.dots(_dots(table), pareto.STYLES, title, theme(), axis.least, narrow=phone())
    st.altair_chart(chart, width="stretch", alt="Dots of leakage by defence; the table below has the numbers.")
    absent = int((~table["reached"]).sum())
    st.caption(
        f"For each defence, the entry that leaks least among those with a TAR of at least {utility:.2f} (point estimate; "
        f"nothing is interpolated between settings). {len(table) - absent:,} of {len(table):,} defences are drawn; those that "
        "do not get there stand in the table with their best."
    )
    st.dataframe(_printed(table), hide_index=True, height="auto", alt="Leakage of each defence at the chosen utility.")


def _dots(table: pd.DataFrame) -> pd.DataFrame:
    """The defences that reach the utility, as rows of a dot plot."""
    kept = table[table["reached"]]
    texts = [
        f"{interval_text(*v)}, entry {e}" for *v, e in kept[["leakage", "leakage_low", "leakage_high", "entry"]].to_numpy()
    ]
    names = {"title": "label", "family": "group", "leakage": "value", "leakage_low": "low", "leakage_high": "high"}
    return kept.rename(columns=names)[list(names.values())].assign(text=texts)


def _printed(table: pd.DataFrame) -> pd.DataFrame:
    columns = {
        "Defence": table["title"],
        "Reaches it": ["yes" if r else f"no, at most {u:.3f}" for r, u in zip(table["reached"], table["utility"], strict=True)],
        "Leakage": [interval_text(*v) for v in table[["leakage", "leakage_low", "leakage_high"]].to_numpy(float)],
        "Utility": [interval_text(*v) for v in table[["utility", "utility_low", "utility_high"]].to_numpy(float)],
        "Entry": table["entry"],
        "by attack": table["leakage_attack"],
        "Settings tried": table["settings_tried"],
    }
    return pd.DataFrame(columns)
