"""ROC curves on log axes.  Curves differ by colour (Okabe and Ito's) and by dashes."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from leaderboard.charts.palette import CATEGORIES, GREY

_TOLD = ("tpr", "tpr_low", "tpr_high")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])


def roc(
    points: pd.DataFrame, by: str, highlight: str = "", names: Sequence[str] = (), narrow: bool = False
) -> alt.LayerChart | alt.FacetChart:
    """ROC curves on log axes, with the bands of their TPR.

    Args:
        points: the columns of :data:`leaderboard.tables.details.CURVE`, and the column ``by`` that tells the curves apart.
            Zeros cannot be drawn and are left out.
        highlight: the curve that is drawn thicker.
        names: every name that there is, in the order of the colours, so that one that is drawn keeps its colour whatever
            is drawn beside it; default those present.
        narrow: the page is a phone's.
    """
    data = points[(points["fpr"] > 0) & (points["tpr"] > 0)].rename(columns={by: "curve"})
    present = list(dict.fromkeys(data["curve"]))
    curves = list(names) or present
    across, up = (_scale(data, count) for count in ("negatives", "positives"))
    data = data.assign(tpr_low=data["tpr_low"].clip(lower=up.domain[0]))
    styles = [line_style(i) for i in range(len(curves))]
    colours, dashes = [colour for colour, _ in styles], [dash for _, dash in styles]
    columns = 1 if narrow else 3
    shown = [name for name in curves if name in present]
    legend = alt.Legend(
        orient="top",
        title=None,
        columns=columns,
        labelLimit=320,
        symbolType="stroke",
        symbolSize=300,
        symbolOpacity=1,
        values=shown,
    )
    x = alt.X("fpr:Q", title="False positive rate", scale=across, axis=_axis(across))
    y = alt.Y("tpr:Q", title="True positive rate", scale=up, axis=_axis(up))
    base = alt.Chart(data).encode(x=x, color=alt.Color("curve:N", scale=alt.Scale(domain=curves, range=colours), legend=legend))
    bands = base.mark_area(interpolate="step-after", opacity=0.13, clip=True).encode(
        y=alt.Y("tpr_low:Q", scale=up), y2="tpr_high:Q"
    )
    lines = base.mark_line(interpolate="step-after", clip=True).encode(
        y=y,
        strokeDash=alt.StrokeDash("curve:N", scale=alt.Scale(domain=curves, range=dashes), legend=legend),
        strokeWidth=alt.condition(alt.datum.curve == highlight, alt.value(3), alt.value(1.5)),
        tooltip=["curve:N", alt.Tooltip("fpr:Q", format=".2e"), *(alt.Tooltip(f"{c}:Q", format=".3f") for c in _TOLD)],
    )
    start = max(across.domain[0], up.domain[0])
    diagonal = pd.DataFrame({"fpr": [start, 1.0], "tpr": [start, 1.0]})
    chance = alt.Chart(diagonal).mark_line(strokeDash=[4, 3], color=GREY, strokeWidth=1).encode(x="fpr:Q", y="tpr:Q")
    return alt.layer(chance, bands, lines).properties(height=430 + 20 * -(-len(shown) // columns))


def line_style(number: int) -> tuple[str, list[int]]:
    """Colour and dashes of a curve; no two of the first 28 are the same."""
    return CATEGORIES[number % len(CATEGORIES)], DASHES[(number // len(CATEGORIES) + number % len(CATEGORIES)) % len(DASHES)]


def least_rate(data: pd.DataFrame, count: str) -> float:
    """One in that many photos: the lowest rate that can be told from zero.  ``count``: positives or negatives."""
    return 1 / max(float(data[count].max()) if len(data) else 1000.0, 10.0)


def _scale(data: pd.DataFrame, count: str) -> alt.Scale:
    return alt.Scale(type="log", domain=[least_rate(data, count), 1], nice=False)


def _axis(scale: alt.Scale) -> alt.Axis:
    decades = [10.0**k for k in range(int(np.ceil(np.log10(scale.domain[0]))), 1)]
    return alt.Axis(format="~g", values=decades)
