"""The attacks: what each is, what it may touch, and who resists it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from benchmark.interfaces import Contrast
from leaderboard.board.library import Board
from leaderboard.charts import dots, pareto
from leaderboard.tables import details, resistance
from leaderboard.widgets.scope import choose_scope, open_board, phone, theme

DRAWN = 40  # entries in the plot; the table has all

ACCESS = """
- **similarity**: scores of pairs of photos. **embedding**: what the deployed system returns. **weights**: the white box, with
  feature maps, BatchNorm statistics and gradients. **head**: the training head too; a reference, never in the headline.
- **none**: the attacker knows nothing about membership beforehand. **partial**: a labelled share of the people.
  **auxiliary**: public faces, for shadow backbones. **query_pool**: shadows trained on halves of the people asked about.
- *Resisted* means that the 95 % interval of the AUC reaches down to 0.5: the attack did not beat guessing
  significantly. It is no proof that nothing leaks.
"""


def page() -> None:
    """Draws the page."""
    st.title("Attacks", anchor=False)
    board = open_board()
    with st.container(horizontal=True, gap="small", vertical_alignment="top"):
        scope = choose_scope(board)
        contrast = Contrast(
            st.segmented_control(
                "Contrast",
                [str(c) for c in details.CONTRASTS],
                default=str(Contrast.SAMPLE),
                required=True,
                key="contrast",
                bind="query-params",
            )
        )
    st.caption(details.CONTRASTS[contrast])
    frame = resistance.tries([board.entries[key] for key in scope["key"]])
    if frame.empty:
        st.info("No attack was run on these entries.")
        return
    table = resistance.overview(frame, contrast)
    config = {name: st.column_config.NumberColumn(format="%.3f") for name in ("median AUC", "highest AUC")}
    st.dataframe(table, hide_index=True, height="auto", column_config=config, placeholder="–", alt="The attacks.")
    with st.expander("What access, knowledge and resisted mean", icon=":material/menu_book:"):
        st.markdown(ACCESS)
    _one(board, frame, contrast, list(table["attack"]))


def _one(board: Board, frame: pd.DataFrame, contrast: Contrast, labels: list[str]) -> None:
    """One attack: what it is, and the entries under it."""
    st.subheader("Who resists", anchor="who-resists")
    most = frame.dropna(subset=[str(contrast)])["attack"].value_counts()
    headless = frame["access"].ne("head").groupby(frame["attack"]).any()  # attacks that need the head are a reference
    # of the headless attacks that were put to most entries the strongest
    first = max(range(len(labels)), key=lambda i: (headless.get(labels[i], False), most.get(labels[i], 0), -i))
    label = st.selectbox("Attack", labels, index=first, key="attack", bind="query-params", width=460)
    name = frame.loc[frame["attack"] == label, "name"].iloc[0]
    info = board.attacks.get(name)
    if info:
        st.text(f"{info.summary}\n{info.reference}")
    entries = resistance.entries_of(frame, label, contrast)
    if entries.empty:
        st.info("The attack has no result on this contrast.", icon=":material/block:")
    else:
        number = int(entries["resists"].sum())
        st.markdown(f"**{number:,} of {len(entries):,}** entries resist{'s' if number == 1 else ''} it on this contrast.")
        drawn = entries.head(DRAWN).assign(address="submission?entry=" + entries["key"])
        chart = dots.dots(drawn, pareto.STYLES, "AUC  (0.5 = chance)", theme(), resistance.CHANCE, narrow=phone())
        st.altair_chart(chart, width="stretch", alt="AUC of the attack on each entry, the most resistant first.")
        if len(entries) > DRAWN:
            st.caption(f"{len(entries) - DRAWN:,} less resistant entries are not drawn; the table has all {len(entries):,}.")
        shown = entries.rename(columns={"label": "entry", "group": "family", "text": "AUC, 95 % interval"})
        shown["resists"] = shown["resists"].map({True: "yes", False: "no"})
        columns = ["entry", "family", "AUC, 95 % interval", "resists"]
        st.dataframe(shown[columns], hide_index=True, height="auto", alt="The entries under this attack.")
    _without(frame[(frame["attack"] == label) & (frame["status"] != "ok")])


def _without(frame: pd.DataFrame) -> None:
    if len(frame):
        st.caption("Entries on which it has no result:")
        table = frame[["entry", "status"]].assign(status=frame["status"].str.replace("_", " "))
        st.dataframe(table, hide_index=True, height="auto", alt="Entries without a result.")
