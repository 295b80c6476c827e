"""One entry in detail: attacks, ROC, card, provenance, how to reproduce it.

What submitters wrote is shown by widgets that print plain text (code blocks, data frames, select boxes), never as
Markdown or HTML.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from benchmark.interfaces import Contrast
from benchmark.record import Record
from leaderboard import charts, details
from leaderboard.ranking import Axis, RankedEntry


def show_entry(entry: RankedEntry) -> None:
    """Draws an entry."""
    st.subheader("In detail", anchor="entry")
    st.text(f"{entry.label} · {entry.records[0].card.team}")
    _summary(entry)
    _inside(_run(entry))


@st.fragment
def _inside(record: Record) -> None:
    """The tabs; only the open one is drawn."""
    names = {"Attacks": _attacks, "ROC": _roc, "Utility": _utility, "Card": _card, "Reproduce": _reproduce}
    tabs = st.tabs(list(names), key="tab", on_change="rerun", bind="query-params")
    for tab, draw in zip(tabs, names.values(), strict=True):
        if tab.open:
            with tab:
                draw(record)


def _utility(record: Record) -> None:
    _numbers(details.utility_frame(record))
    st.caption("The blind gate: what classifiers that never saw the model can tell. It should be chance.")
    _numbers(details.gate_frame(record))


def _card(record: Record) -> None:
    st.code(details.card_text(record), language="json", height=420)


def _reproduce(record: Record) -> None:
    st.code(details.reproduce(record), language="bash", wrap_lines=True)
    st.code(details.provenance_text(record), language="json", height=360)


def _summary(entry: RankedEntry) -> None:
    record = entry.records[0]
    tiles = st.container(horizontal=True, gap="medium")
    better = len(entry.dominated_by)
    _metric(tiles, "Rank", charts.place(entry.rank, entry.tied), f"{better} significantly better" if better else "none better")
    _tile(tiles, "Utility, TAR@FAR=1e-3", entry.utility)
    _tile(tiles, "Leakage, membership advantage", entry.leakage)
    claim = record.card.claim
    if claim:
        covers = f"δ = {claim.delta:g}, per {claim.unit}, {claim.covers.replace('_', ' ')}"
        _metric(tiles, "Claimed ε", f"{claim.epsilon:g}", covers)
    lines = [f"not ranked: {reason}" for reason in entry.reasons] + list(entry.left_out)
    lines += [f"{flag.severity}: {flag.name}: {flag.reason}" for r in entry.records for flag in r.flags]
    if entry.dominated_by:
        lines.append(f"significantly dominated by: {', '.join(entry.dominated_by)}")
    if lines:
        st.code("\n".join(dict.fromkeys(lines)), language=None, wrap_lines=True)


def _tile(tiles: DeltaGenerator, label: str, axis: Axis) -> None:
    if axis.value is None:
        _metric(tiles, label, "–", "not measured")
        return
    spread = "" if axis.low is None else f"95 % {axis.low:.3f} – {axis.high:.3f}, "
    seeds = f", {len(axis.per_seed)} seeds" if len(axis.per_seed) > 1 else ""
    _metric(tiles, label, f"{axis.value:.3f}", f"{spread}n = {axis.n} {axis.unit}{seeds}")


def _metric(tiles: DeltaGenerator, label: str, value: str, note: str) -> None:
    tile = tiles.container(width="content", gap=None)
    tile.metric(label, value, width="content")
    tile.caption(note)


def _run(entry: RankedEntry) -> Record:
    """The run of the entry that is looked into: the only one, or the chosen seed's."""
    if len(entry.records) == 1:
        return entry.records[0]
    runs = {f"seed {r.card.seed} · {r.provenance.submission_id[:6]}": r for r in entry.records}
    return runs[st.segmented_control("Run", list(runs), default=next(iter(runs)), required=True, key=f"run-{entry.key}")]


def _attacks(record: Record) -> None:
    frame = details.attack_frame(record)
    if frame.empty:
        st.info("No attack was run on this entry.")
    if frame["auc"].notna().any():
        alt = "Bars of AUC by attack and contrast; the table below has the numbers."
        st.altair_chart(charts.attack_bars(frame, theme()), width="stretch", alt=alt)
    if len(frame):
        _numbers(details.attack_table(record))
    without = details.not_run(record)
    if without:
        st.caption("Attacks without a result:")
        st.code("\n".join(without), language=None, wrap_lines=True)


def theme() -> str:
    """``light`` or ``dark``, as the reader has it."""
    return st.context.theme.type or "light"


def _roc(record: Record) -> None:
    present = [c for c in details.CONTRASTS if any(c in a.contrasts for a in record.membership)]
    if not present:
        st.info("There is no curve: no attack was run on this entry.")
        return
    headline = record.headline
    default = headline.leakage_contrast if headline and headline.leakage_contrast in present else present[0]
    contrast = st.segmented_control(
        "Contrast", present, default=default, required=True, key=f"contrast-{record.provenance.submission_id[:12]}"
    )
    st.caption(details.CONTRASTS[Contrast(contrast)])
    points = details.roc_frame(record, Contrast(contrast))
    chart = charts.roc(points, highlight=headline.leakage_attack if headline else "")
    st.altair_chart(chart, width="stretch", alt=f"ROC curves of {points['attack'].nunique()} attacks on log axes.")


def _numbers(frame: pd.DataFrame) -> None:
    numbers = frame.select_dtypes("number").columns
    config = {name: st.column_config.NumberColumn(format="%.3f") for name in numbers if frame[name].dtype.kind == "f"}
    st.dataframe(frame, column_config=config, hide_index=True, height="auto", placeholder="–")
