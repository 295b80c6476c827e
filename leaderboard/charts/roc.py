"""ROC curves on log axes.  Curves differ by colour (Okabe and Ito's) and by dashes."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from leaderboard.charts.palette import CATEGORIES, GREY

_LINES = CATEGORIES
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])


def roc(points: pd.DataFrame, by: str, highlight: str = "", names: Sequence[str] = ()) -> alt.LayerChart:
    """ROC curves on log axes.  ``points``: fpr, tpr, and the column ``by`` that tells the curves apart.

    Zeros cannot be drawn and are left out.  ``highlight``: the curve that is drawn thicker.  ``names``: every curve's name, in
    the order of the colours; default those present.
    """
    data = points[(points["fpr"] > 0) & (points["tpr"] > 0)].rename(columns={by: "curve"})
    curves = list(names) or list(dict.fromkeys(data["curve"]))
    floor = float(min(data["fpr"].min(), data["tpr"].min())) if len(data) else 1e-3
    floor = 10.0 ** np.floor(np.log10(floor))
    scale = alt.Scale(type="log", domain=[floor, 1], nice=False)
    colours = [_LINES[i % len(_LINES)] for i in range(len(curves))]
    dashes = [_DASHES[(i // len(_LINES) + i) % len(_DASHES)] for i in range(len(curves))]
    legend = alt.Legend(orient="top", title=None, columns=1, labelLimit=300, symbolType="stroke", symbolSize=300)
    axis = alt.Axis(format=".0e", values=_decades(floor))
    lines = (
        alt.Chart(data)
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("fpr:Q", title="False positive rate", scale=scale, axis=axis),
            y=alt.Y("tpr:Q", title="True positive rate", scale=scale, axis=axis),
            color=alt.Color("curve:N", scale=alt.Scale(domain=curves, range=colours), legend=legend),
            strokeDash=alt.StrokeDash("curve:N", scale=alt.Scale(domain=curves, range=dashes), legend=legend),
            strokeWidth=alt.condition(alt.datum.curve == highlight, alt.value(3), alt.value(1.5)),
            tooltip=["curve:N", alt.Tooltip("fpr:Q", format=".2e"), alt.Tooltip("tpr:Q", format=".3f")],
        )
    )
    diagonal = pd.DataFrame({"fpr": [floor, 1.0], "tpr": [floor, 1.0]})
    chance = alt.Chart(diagonal).mark_line(strokeDash=[4, 3], color=GREY, strokeWidth=1).encode(x="fpr:Q", y="tpr:Q")
    return alt.layer(chance, lines).properties(height=400 + 16 * len(curves))


def _decades(floor: float) -> list[float]:
    return [10.0**k for k in range(int(np.log10(floor)), 1)]
