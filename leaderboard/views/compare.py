"""Two to four entries side by side."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from benchmark.interfaces import Contrast, FaceVeilError
from benchmark.records.ranking import RankedEntry
from benchmark.records.record import Record
from benchmark.records.results import interval_text
from leaderboard.board.frame import rank_text
from leaderboard.board.library import Board, library
from leaderboard.charts import dots, roc
from leaderboard.tables import compare, details
from leaderboard.widgets import links
from leaderboard.widgets.scope import choose_scope, open_board, phone, theme

MOST = 4


def page() -> None:
    """Draws the page."""
    st.title("Compare", anchor=False)
    if "board_query" in st.session_state and st.button("Back to the board", icon=":material/arrow_back:", type="tertiary"):
        links.go("board", **st.session_state["board_query"])
    board = open_board()
    asked = [key for key in links.entries() if key in board.entries][:MOST]
    keys = _choose(board, asked)
    links.keep("entry", keys)
    if len(keys) < 2:
        st.info("Choose two to four entries.", icon=":material/compare_arrows:")
        return
    entries = [board.entries[key] for key in keys]
    if len({entry.scope for entry in entries}) > 1:
        st.warning(
            "These entries were not measured alike (another track, protocol, data, split, or board): their numbers do not "
            "compare.",
            icon=":material/rule:",
        )
    try:
        records = {name: library().record(entry.runs[0]) for name, entry in zip(compare.names(entries), entries, strict=True)}
    except FaceVeilError:
        st.rerun()
    _summary(entries, records)
    contrast = _contrast(records)
    _curves(records, contrast)
    _attacks(records, contrast)
    _settings(records)


def _choose(board: Board, asked: list[str]) -> list[str]:
    """The keys of the entries to be compared: of one scope, and those that the link names."""
    with st.container(horizontal=True, gap="small", vertical_alignment="top"):
        scope = choose_scope(board)
        texts = dict(zip(scope["key"], scope["entry"], strict=True))
        texts |= {key: board.entries[key].label for key in asked}
        if st.session_state.get("compared_link") != asked or "compared" not in st.session_state:
            st.session_state.update(compared=asked, compared_link=asked)  # a link was opened, or the way back was taken
        st.session_state["compared"] = [key for key in st.session_state["compared"] if key in texts]
        chosen = st.multiselect(
            "Entries",
            list(texts),
            key="compared",
            max_selections=MOST,
            format_func=lambda key: texts[key],
            placeholder="Two to four entries",
        )
    st.session_state["compared_link"] = chosen
    return list(chosen)


def _summary(entries: list[RankedEntry], records: dict[str, Record]) -> None:
    rows = []
    for entry, (name, record) in zip(entries, records.items(), strict=True):
        head = record.headline
        rows.append(
            {
                "entry": name,
                "rank": rank_text(entry.rank, entry.tied),
                "utility": interval_text(entry.utility.value, entry.utility.low, entry.utility.high),
                "leakage": interval_text(entry.leakage.value, entry.leakage.low, entry.leakage.high),
                "n": f"{entry.utility.n} / {entry.leakage.n} {entry.leakage.unit}",
                "by attack": f"{head.leakage_attack} ({head.leakage_contrast})" if head else "–",
                "seeds": len(entry.runs),
                "team": record.card.team,
                "board": entry.scope.board,
            }
        )
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="auto", alt="The entries' headline numbers.")
    if len({entry.scope for entry in entries}) == 1:
        st.caption("Differences with 95 % intervals, paired: every entry was measured on the same resampled people.")
        st.dataframe(compare.differences(entries), hide_index=True, height="auto", alt="Paired differences.")
    if any(len(entry.runs) > 1 for entry in entries):
        st.caption("Curves, attacks and settings below are those of each entry's first seed.")


def _contrast(records: dict[str, Record]) -> Contrast:
    present = [c for c in details.CONTRASTS if any(c in a.contrasts for r in records.values() for a in r.membership)]
    if not present:
        return Contrast.SAMPLE
    chosen = st.segmented_control(
        "Contrast", [str(c) for c in present], default=str(present[0]), required=True, key="contrast", bind="query-params"
    )
    st.caption(details.CONTRASTS[Contrast(chosen)])
    return Contrast(chosen)


def _curves(records: dict[str, Record], contrast: Contrast) -> None:
    st.subheader("ROC", anchor=False)
    labels = list(dict.fromkeys(a.label for r in records.values() for a in r.membership if contrast in a.contrasts))
    strongest = "each entry's strongest"
    attack = st.selectbox("Attack", [strongest, *labels], key="attack", bind="query-params", width=420)
    points = compare.curves(records, contrast, "" if attack == strongest else attack)
    if points.empty:
        st.info("No curve: the attack was not run on these entries.")
        return
    st.altair_chart(
        roc.roc(points, "entry", names=list(records), narrow=phone()),
        width="stretch",
        alt=f"ROC curves of {len(records)} entries on log axes.",
    )
    if attack == strongest:
        used = points.drop_duplicates("entry")
        st.dataframe(used[["entry", "attack"]], hide_index=True, height="auto", alt="Each entry's strongest attack.")


def _attacks(records: dict[str, Record], contrast: Contrast) -> None:
    st.subheader("Attack by attack", anchor=False)
    frame = compare.attack_dots(records, contrast)
    if frame.empty:
        st.info("No attack was run on this contrast.")
        return
    chart = dots.dots(frame, dots.styles(list(records)), "AUC  (0.5 = chance, nothing leaks)", theme(), 0.5, narrow=phone())
    st.altair_chart(chart, width="stretch", alt="AUC with intervals of every attack on every entry.")


def _settings(records: dict[str, Record]) -> None:
    st.subheader("Settings", anchor=False)
    differing, same = compare.settings(records)
    st.dataframe(differing, hide_index=True, height="auto", alt="Settings that differ.", key="differing")
    with st.expander(f"{len(same)} settings are the same"):
        st.dataframe(same, hide_index=True, height="auto", alt="Settings that are the same.", key="same")
