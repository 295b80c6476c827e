"""Dot plots: a row a thing, a dot a value with its 95 % interval; groups differ by colour and by shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from leaderboard.charts.palette import GREY, INK, PAPER
from leaderboard.charts.pareto import STYLES

# up to seven groups; Okabe and Ito's colours, each with a shape of its own
GROUPS = (*(style for name, style in STYLES.items() if name not in ("No defence", "Control", "Other")), (GREY, "circle"))
_LINE = 15  # pixels a dot
_HEAD, _AIR = 26, 9  # pixels a row: for its name and air, for air alone
CHANCE = 0.5


def styles(groups: list[str]) -> dict[str, tuple[str, str]]:
    """A colour and a shape for each group, in order."""
    return {group: GROUPS[i % len(GROUPS)] for i, group in enumerate(groups)}


def dots(
    data: pd.DataFrame,
    groups: Mapping[str, tuple[str, str]],
    title: str,
    theme: str = "light",
    least: float | None = None,
    narrow: bool = False,
) -> alt.LayerChart | alt.FacetChart:
    """One row a ``label``, in order of appearance; its name stands left of its dots, on a phone above them.

    Args:
        data: label, group, value, low, high, and text (shown under the pointer); rows without a value are left out.
            With a column address, a dot opens it.
        groups: colour and shape by group.
        title: of the value's axis.
        least: where nothing leaks: a dashed line.
        narrow: the page is a phone's.
    """
    data = data.dropna(subset=["value"]).copy()
    labels = list(dict.fromkeys(data["label"]))
    present = [group for group in groups if group in set(data["group"])]
    head = _HEAD if narrow else _AIR
    heights = [head + _LINE * int(count) for count in data["label"].value_counts().reindex(labels)]
    starts = dict(zip(labels, np.cumsum([0, *heights]), strict=False))
    data["row"] = _rows(data["label"], starts, head)
    domain = _domain(data, least)
    total = int(sum(heights))
    x_axis = alt.Axis(tickCount=6, format=".2f", labelOverlap=True, domain=False)
    x = alt.X("value:Q", title=title, axis=x_axis, scale=alt.Scale(domain=domain, nice=False, zero=False))
    y_axis = (
        None
        if narrow
        else _name_axis([starts[label] + height / 2 for label, height in zip(labels, heights, strict=True)], labels)
    )
    y = alt.Y("row:Q", axis=y_axis, scale=alt.Scale(domain=[0, total], reverse=True, nice=False, zero=False))
    across = 2 if narrow else max(1, min(8, len(present)))
    legend = alt.Legend(orient="top", title=None, labelLimit=260, columns=across, symbolSize=110) if len(present) > 1 else None
    colour = alt.Color("group:N", scale=alt.Scale(domain=present, range=[groups[g][0] for g in present]), legend=legend)
    shape = alt.Shape("group:N", scale=alt.Scale(domain=present, range=[groups[g][1] for g in present]), legend=legend)
    tooltip = [alt.Tooltip("label:N", title=" "), alt.Tooltip("group:N", title="  "), alt.Tooltip("text:N", title="Value")]
    opened: dict[str, Any] = {"href": alt.Href("address:N")} if "address" in data else {}
    base = alt.Chart(data).encode(y=y, color=colour)
    layers = [] if least is None else [_least_line(least)]
    layers.append(base.mark_rule(strokeWidth=1.5).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q")))
    layers.append(base.mark_point(filled=True, size=80, opacity=1).encode(x, shape, tooltip=tooltip, **opened))
    if narrow:
        layers += _names_above(labels, starts, domain[0], y, theme)
    lines = 0 if legend is None else -(-len(present) // across)
    return alt.layer(*layers).properties(height=max(total, 40) + 90 + 32 * lines)


def _rows(labels: pd.Series, starts: Mapping[str, float], head: int) -> list[float]:
    """Where each dot stands, pixels from the top: those of one label below each other."""
    place: dict[str, int] = {}
    rows = []
    for label in labels:
        rows.append(starts[label] + head / 2 + _LINE * (place.get(label, 0) + (0.5 if head == _AIR else 1.2)))
        place[label] = place.get(label, 0) + 1
    return rows


def _domain(data: pd.DataFrame, least: float | None) -> list[float]:
    """Every interval; where the least is chance, an AUC of a half, from 0.45 or below."""
    ends = data[["value", "low", "high"]].to_numpy(float).ravel()
    ends = np.append(ends[np.isfinite(ends)], [] if least is None else [least])
    if not len(ends):
        return [0.0, 1.0]
    margin = max(0.04 * float(np.ptp(ends)), 0.01)
    low = float(ends.min()) - margin
    return [min(low, CHANCE - 0.05) if least == CHANCE else low, float(ends.max()) + margin]


def _name_axis(places: list[float], labels: list[str]) -> alt.Axis:
    """The rows' names as labels of the axis, so that none stands on a dot."""
    text = f"{json.dumps(labels)}[indexof({json.dumps(places)}, datum.value)]"
    plain: dict[str, Any] = {"grid": False, "ticks": False, "domain": False, "title": None}
    return alt.Axis(values=places, labelExpr=text, labelLimit=400, labelFontSize=12, labelOverlap=False, **plain)


def _least_line(least: float) -> alt.Chart:
    line: alt.Chart = alt.Chart(pd.DataFrame({"value": [least]})).mark_rule(strokeDash=[4, 3], color=GREY)
    return line.encode(x="value:Q")


def _names_above(labels: list[str], starts: Mapping[str, float], left: float, y: alt.Y, theme: str) -> list[alt.Chart]:
    titles = pd.DataFrame({"label": labels, "row": [starts[label] + 9 for label in labels], "left": left})
    font: dict[str, Any] = {"align": "left", "fontSize": 12, "fontWeight": 600, "limit": 0}
    names = alt.Chart(titles).encode(x="left:Q", y=y, text="label:N")
    halo = names.mark_text(**font, color=PAPER[theme], stroke=PAPER[theme], strokeWidth=4)
    return [halo, names.mark_text(**font, color=INK[theme])]
