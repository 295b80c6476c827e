"""The board's table on a phone: rank, name, utility and leakage with their intervals, names in full, a tap opens the entry."""

from __future__ import annotations

from html import escape

import pandas as pd

from leaderboard.board.frame import rank_text
from leaderboard.charts.palette import LINK

STYLE = """
.entries { width: 100%; border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
.entries th { text-align: left; font-weight: 600; padding: .4rem .3rem; border-bottom: 2px solid rgba(128, 128, 128, .5) }
.entries td { padding: .3rem; border-bottom: 1px solid rgba(128, 128, 128, .3); vertical-align: top }
.entries a { display: block; color: COLOUR; padding: .35rem 0; overflow-wrap: anywhere }
.entries .number { text-align: right; white-space: nowrap; padding-top: .65rem }
.entries small { display: block; font-size: .72rem }
"""


def table(frame: pd.DataFrame, name: str, theme: str = "light") -> str:
    """The entries as a table in HTML that fits 390 pixels; what submitters wrote stays text."""
    ranked = bool(frame["rank"].notna().all())
    first = "#" if ranked else ""
    heads = "".join(f'<th scope="col">{head}</th>' for head in (first, "Defence", "Utility ↑", "Leakage ↓"))
    rows = "".join(_row(row) for row in frame.to_dict("records"))
    style = STYLE.replace("COLOUR", LINK[theme])
    return f'<style>{style}</style><table class="entries" aria-label="{escape(name)}"><tr>{heads}</tr>{rows}</table>'


def _row(row: dict[str, object]) -> str:
    place = rank_text(row["rank"], bool(row["tied"]))  # type: ignore[arg-type]
    link = f'<a href="submission?entry={escape(str(row["key"]))}" target="_self">{escape(str(row["title"]))}</a>'
    reasons = f"<small>{escape(str(row['reasons']))}</small>" if row["reasons"] else ""
    found = "<small>n.f.: nothing found</small>" if row["nothing_found"] else ""
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in (_number(row, "utility"), _number(row, "leakage") + found))
    return f'<tr><td class="number">{place}</td><td>{link}{reasons}</td>{numbers}</tr>'


def _number(row: dict[str, object], name: str) -> str:
    """``0.674`` and below it its interval."""
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if pd.isna(value):
        return "–"
    ends = "" if pd.isna(low) or pd.isna(high) else f"<small>{low:.3f} – {high:.3f}</small>"
    return f"{value:.3f}{ends}"
