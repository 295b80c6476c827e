"""The attribution as a picture: AUC with intervals, a panel a question."""

from __future__ import annotations

from pathlib import Path

import altair as alt
import pandas as pd

from benchmark.interfaces import FaceVeilError
from benchmark.records.results import Attribution, AttributionRow
from leaderboard.charts.palette import BLUE, GREEN, ORANGE

TITLES = {
    "statistics": "trained statistics against public ones, same weights",
    "order": "photos of the last batches against earlier ones",
    "unrelated_models": "backbones that never saw these people",
}
SUFFIXES = (".html", ".json")
COLOURS = [BLUE, ORANGE, GREEN]


def chart(found: Attribution) -> alt.VConcatChart:
    """Points with 95 % intervals, chance marked; a row an attack, case and contrast."""
    bounds = [bound for row in found.rows for bound in (row.auc.low, row.auc.high) if bound is not None]
    axis = alt.Scale(domain=[min([0.45, *bounds]), max([0.55, *bounds])], zero=False, nice=True)
    panels = []
    for question, title in TITLES.items():
        rows = [r for r in found.rows if r.question == question]
        if rows:
            panels.append(_panel(pd.DataFrame([_record(row) for row in rows]), title, axis))
    result: alt.VConcatChart = alt.vconcat(*panels).configure_view(strokeWidth=0)
    return result


def _record(row: AttributionRow) -> dict[str, object]:
    auc = row.auc
    name = f"{row.contrast} · {row.case}"
    return {
        "attack": row.attack,
        "row": name,
        "AUC": auc.value,
        "low": auc.low,
        "high": auc.high,
        "people": auc.n,
        "n": auc.note,
    }


def _panel(frame: pd.DataFrame, title: str, axis: alt.Scale) -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(frame).encode(
        y=alt.Y("row:N", sort=None, title=None, axis=alt.Axis(labelLimit=420)),
        yOffset=alt.YOffset("attack:N", sort=None),
        color=alt.Color("attack:N", sort=None, scale=alt.Scale(range=COLOURS)),
        tooltip=["attack", "row", alt.Tooltip("AUC", format=".3f"), alt.Tooltip("low", format=".3f"),
                 alt.Tooltip("high", format=".3f"), "people", "n"],
    )  # fmt: skip
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", scale=axis, title="AUC, 95 % over people"), x2="high:Q")
    points = base.mark_point(filled=True, size=60).encode(
        x=alt.X("AUC:Q", scale=axis), shape=alt.Shape("attack:N", sort=None, legend=None)
    )
    chance = (
        alt.Chart(pd.DataFrame({"AUC": [0.5]})).mark_rule(strokeDash=[4, 4], color="grey").encode(x=alt.X("AUC:Q", scale=axis))
    )
    return alt.layer(chance, bars, points).properties(title=title, width=420, height=alt.Step(14))


def check_suffix(path: Path) -> None:
    """Raises where a picture of this name cannot be written."""
    if path.suffix not in SUFFIXES:
        raise FaceVeilError(f"--plot {path}: write .html (for a browser) or .json (a Vega-Lite specification).")


def save(found: Attribution, path: Path) -> None:
    """Writes the picture as ``.html`` (a browser fetches the Vega viewer) or ``.json`` (a Vega-Lite specification).

    Raises:
        FaceVeilError: another suffix, or nothing to draw.
    """
    check_suffix(path)
    if not found.rows:
        raise FaceVeilError("there is no row to draw: no question could be asked of this submission.")
    chart(found).save(str(path))
