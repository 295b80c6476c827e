"""The headline of one entry: its numbers as tiles, and what to know before trusting them."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from benchmark.interfaces import Contrast
from benchmark.records.ranking import Axis, RankedEntry
from leaderboard.board.facts import strongest
from leaderboard.board.frame import rank_text


def summary(entry: RankedEntry) -> None:
    """Rank, utility, leakage, both contrasts, and the claim."""
    row = st.container(horizontal=True, gap="medium")
    better = entry.dominators
    _metric(row, "Rank", rank_text(entry.rank, entry.tied), f"{better:,} significantly better" if better else "none better")
    _tile(row, "Utility, TAR@FAR=1e-3", entry.utility)
    _tile(row, "Leakage, membership advantage", entry.leakage)
    for contrast, title in ((Contrast.SAMPLE, "AUC, seen / unseen photos"), (Contrast.IDENTITY, "AUC, members / others")):
        _, value, low, high = strongest(entry.runs, contrast)
        if value is not None:
            _metric(row, title, f"{value:.3f}", "no interval" if low is None else f"95 % {low:.3f} – {high:.3f}")
    claim = entry.runs[0].claim
    if claim:
        note = f"δ = {claim.delta:.2g}, {claim.scope}"
        help = "δ bounds the probability with which the promise of ε may fail. The board does not certify either."
        _metric(row, "Claimed ε", f"{claim.epsilon:.3g}", note, help)


def remarks(entry: RankedEntry) -> None:
    """Red flags and reasons, as plain text: submitters wrote parts of them."""
    lines = [f"not ranked: {reason}" for reason in entry.reasons] + list(entry.left_out)
    lines += [f"{flag.severity}: {flag.name}: {flag.reason}" for run in entry.runs for flag in run.flags]
    if entry.dominators:
        more = entry.dominators - len(entry.dominated_by)
        lines.append(f"significantly dominated by: {', '.join(entry.dominated_by)}" + (f", and {more:,} more" if more else ""))
    if lines:
        st.code("\n".join(dict.fromkeys(lines)), language=None, wrap_lines=True)


def _tile(row: DeltaGenerator, label: str, axis: Axis) -> None:
    if axis.value is None:
        _metric(row, label, "–", "not measured")
        return
    spread = "" if axis.low is None else f"95 % {axis.low:.3f} – {axis.high:.3f}, "
    seeds = f", {len(axis.per_seed)} seeds" if len(axis.per_seed) > 1 else ""
    _metric(row, label, f"{axis.value:.3f}", f"{spread}n = {axis.n} {axis.unit}{seeds}")


def _metric(row: DeltaGenerator, label: str, value: str, note: str, help: str | None = None) -> None:
    tile = row.container(width="content", gap=None)
    tile.metric(label, value, width="content", help=help)
    tile.caption(note)
