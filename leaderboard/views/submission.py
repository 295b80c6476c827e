"""Everything of one entry: what it leaks, its card, what it cost, where the numbers come from, how to get them again.

What submitters wrote is shown by widgets that print plain text (code blocks, data frames, select boxes), never as
Markdown or HTML.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from benchmark.interfaces import Contrast, FaceVeilError
from benchmark.records.ranking import RankedEntry
from benchmark.records.record import Record
from benchmark.records.runs import Run
from leaderboard.board import galleries
from leaderboard.board.library import Board, library
from leaderboard.board.methods import methods
from leaderboard.charts import dots, roc
from leaderboard.tables import details, extras
from leaderboard.widgets import links, tiles
from leaderboard.widgets.scope import choose_scope, follow, open_board, phone, theme

CURVES = 6  # drawn before the reader chooses


def page() -> None:
    """Draws the page."""
    st.title("Submission", anchor=False)
    entry = _entry(open_board())
    if entry is None:
        st.info("Choose an entry, or open one from the board.", icon=":material/search:")
        return
    _line(entry)
    tiles.summary(entry)
    tiles.remarks(entry)
    try:
        _inside(entry, library().record(_run(entry)))
    except FaceVeilError:  # replaced since the board was read
        st.rerun()


def _entry(board: Board) -> RankedEntry | None:
    """The entry that the link names, or that is chosen here."""
    asked = next(iter(links.entries()), None)
    if asked and asked not in board.entries:
        st.info("The entry that the link names is not on this board.", icon=":material/link_off:")
    if asked is not None and asked in board.entries and st.session_state.get("opened_link") != asked:
        follow(board.entries[asked].scope)
    with st.container(horizontal=True, gap="small", vertical_alignment="top"):
        scope = choose_scope(board)
        texts = dict(zip(scope["key"], scope["entry"], strict=True))
        if asked is not None and asked in board.entries:
            texts = {asked: board.entries[asked].label} | texts
        if st.session_state.get("opened_link") != asked or "opened" not in st.session_state:
            st.session_state.update(opened=asked if asked in texts else None, opened_link=asked)
        chosen = st.selectbox(
            "Entry", list(texts), key="opened", format_func=lambda key: texts.get(key, ""), placeholder="Name of an entry"
        )
    links.keep("entry", [chosen] if chosen else [])
    st.session_state["opened_link"] = chosen
    return board.entries.get(chosen) if chosen else None


def _line(entry: RankedEntry) -> None:
    """Where it stands, and where to go from here."""
    scope, run = entry.scope, entry.runs[0]
    text = f"{entry.label} · by {run.team} · {scope.board} · track {scope.track} · protocol {scope.protocol_version}"
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.text(text, width="content")
        if st.button("Compare", icon=":material/compare_arrows:"):
            links.go("compare", entry=[entry.key])
    known = methods()
    with st.container(horizontal=True, gap="xsmall"):
        for name in dict.fromkeys(run.defense_names):
            method = known.get(f"defenses/{name}")
            if method and st.button(f"About {method['title']}", icon=":material/menu_book:", key=f"about_{name}"):
                links.go("methods", method=f"defenses/{name}")


def _run(entry: RankedEntry) -> Run:
    """The run that is looked into: the only one, or the chosen seed's."""
    if len(entry.runs) == 1:
        return entry.runs[0]
    runs = {f"seed {r.seed} · {r.submission_id[:6]}": r for r in entry.runs}
    return runs[st.segmented_control("Run", list(runs), default=next(iter(runs)), required=True, key=f"run-{entry.key}")]


@st.fragment
def _inside(entry: RankedEntry, record: Record) -> None:
    """The tabs; only the open one is drawn."""
    parts: dict[str, Callable[[], None]] = {
        "Attacks": lambda: _attacks(record),
        "ROC": lambda: _roc(record),
        "Utility": lambda: _utility(record),
    }
    for title, value in extras.sections(record).items():
        parts[title] = partial(_extra, value)
    if found := galleries.pictures(record):
        parts["Gallery"] = partial(_gallery, found)
    parts |= {
        "Cost": lambda: _numbers(details.cost_frame(record)),
        "Card": lambda: _card(record),
        "Reproduce": lambda: _reproduce(entry, record),
    }
    tabs = st.tabs(list(parts), key="tab", on_change="rerun", bind="query-params")
    for tab, draw in zip(tabs, parts.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def _attacks(record: Record) -> None:
    frame = details.attack_frame(record)
    if frame.empty:
        st.info("No attack was run on this entry.")
    if frame["auc"].notna().any():
        chart = dots.dots(
            details.attack_dots(frame), details.CONTRAST_STYLES, "AUC  (0.5 = chance)", theme(), 0.5, narrow=phone()
        )
        alt = "AUC of each attack on each contrast with intervals; the table below has the numbers."
        st.altair_chart(chart, width="stretch", alt=alt)
        st.caption(" · ".join(details.CONTRASTS.values()) + ". The last mixes both and never makes the headline.")
    if len(frame):
        _numbers(details.attack_table(record))
    without = details.not_run(record)
    if without:
        st.caption("Attacks without a result:")
        st.code("\n".join(without), language=None, wrap_lines=True)
    st.caption("What the attacks are:")
    st.dataframe(details.attack_notes(record), hide_index=True, height="auto", alt="The attacks and where they come from.")


def _roc(record: Record) -> None:
    present = [c for c in details.CONTRASTS if any(c in a.contrasts for a in record.membership)]
    if not present:
        st.info("There is no curve: no attack was run on this entry.")
        return
    headline = record.headline
    default = headline.leakage_contrast if headline and headline.leakage_contrast in present else present[0]
    contrast = Contrast(
        st.segmented_control(
            "Contrast", [str(c) for c in present], default=str(default), required=True, key="contrast", bind="query-params"
        )
    )
    st.caption(details.CONTRASTS[contrast])
    points = details.roc_frame(record, contrast)
    labels = list(dict.fromkeys(points["attack"]))
    shown = st.multiselect("Attacks", labels, details.strongest_labels(record, contrast)[:CURVES], key=f"curves-{contrast}")
    if not shown:
        st.info("Choose an attack to see its curve.")
        return
    kept = points[points["attack"].isin(shown)]
    leader = headline.leakage_attack if headline else ""
    chart = roc.roc(kept, "attack", leader, names=details.curve_order(record), narrow=phone())
    st.altair_chart(chart, width="stretch", alt=f"ROC curves of {len(shown)} attacks on log axes.")
    st.caption(
        "From one photo of all that were asked about, on log axes. Bands are 95 % intervals of the TPR that count each person "
        "once, however many photos there are of them: they are on the safe side."
    )


def _utility(record: Record) -> None:
    _numbers(details.utility_frame(record))
    st.caption("The blind gate: what classifiers that never saw the model can tell. It should be chance.")
    _numbers(details.gate_frame(record))


def _extra(value: Any) -> None:
    """A part that goes beyond the standard ones."""
    for title, frame in extras.tables(value).items():
        if title:
            st.text(title)
        _numbers(frame)


def _gallery(found: list[Path]) -> None:
    """What inversions rebuilt; of made-up people only."""
    st.caption("Rebuilt from the backbone by the evaluator, beside photos of members. No real person is shown.")
    for path in found:
        st.text(path.stem)
        st.image(str(path), alt=f"Rebuilt faces: {path.stem}")


def _card(record: Record) -> None:
    st.code(details.card_text(record), language="json", height=420, wrap_lines=True)


def _reproduce(entry: RankedEntry, record: Record) -> None:
    st.code(details.reproduce(record), language="bash", wrap_lines=True)
    st.caption("The numbers above follow from these. Weights, data and split are named by their hashes.")
    st.code(details.provenance_text(record), language="json", height=360, wrap_lines=True)
    st.caption("To cite this entry:")
    st.code(details.citation(entry, record), language="bibtex", wrap_lines=True)
    text, name = record.model_dump_json(indent=1), f"faceveil-{entry.key}-seed{record.card.seed}.json"
    st.download_button("Whole record", text, name, "application/json", icon=":material/download:", on_click="ignore")


def _numbers(frame: pd.DataFrame) -> None:
    numbers = frame.select_dtypes("number").columns
    config = {name: st.column_config.NumberColumn(format="%.3f") for name in numbers if frame[name].dtype.kind == "f"}
    st.dataframe(frame, column_config=config, hide_index=True, height="auto", placeholder="–", alt="Numbers of this section.")
