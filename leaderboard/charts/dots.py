"""Dot plots: a row a thing, a dot a value with its 95 % interval; groups differ by colour and by shape."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import numpy as np
import pandas as pd

from leaderboard.charts.palette import GREY, INK, PAPER
from leaderboard.charts.pareto import STYLES

# up to seven groups; Okabe and Ito's colours, each with a shape of its own
GROUPS = (*(style for name, style in STYLES.items() if name not in ("No defence", "Other")), (GREY, "circle"))
_LINE = 15  # pixels a dot
_HEAD = 26  # pixels a row, for its name and air


def styles(groups: list[str]) -> dict[str, tuple[str, str]]:
    """A colour and a shape for each group, in order."""
    return {group: GROUPS[i % len(GROUPS)] for i, group in enumerate(groups)}


def dots(
    data: pd.DataFrame, groups: Mapping[str, tuple[str, str]], title: str, theme: str = "light", least: float | None = None
) -> alt.LayerChart:
    """One row a ``label``, in order of appearance, its name above its dots, so that long names fit on a phone.

    Args:
        data: label, group, value, low, high, and text (shown under the pointer); rows without a value are left out.
        groups: colour and shape by group.
        title: of the value's axis.
        least: where nothing leaks: a dashed line.
    """
    data = data.dropna(subset=["value"]).copy()
    labels = list(dict.fromkeys(data["label"]))
    present = [group for group in groups if group in set(data["group"])]
    heights = _heights(data, labels)
    starts = dict(zip(labels, np.cumsum([0, *heights]), strict=False))
    place: dict[str, int] = {}
    rows = []
    for label in data["label"]:
        rows.append(starts[label] + _HEAD - 4 + _LINE * place.get(label, 0))
        place[label] = place.get(label, 0) + 1
    data["row"] = rows
    ends = data[["value", "low", "high"]].to_numpy(float).ravel()
    ends = np.append(ends[np.isfinite(ends)], [] if least is None else [least])
    margin = max(0.04 * float(np.ptp(ends)), 0.01)
    domain = [float(ends.min()) - margin, float(ends.max()) + margin]
    total = int(sum(heights))
    x = alt.X(
        "value:Q",
        title=title,
        axis=alt.Axis(tickCount=6, format=".2f", labelOverlap=True),
        scale=alt.Scale(domain=domain, nice=False, zero=False),
    )
    y = alt.Y("row:Q", axis=None, scale=alt.Scale(domain=[0, total], reverse=True, nice=False))
    across = 2 if max(map(len, present), default=0) < 24 else 1
    legend = alt.Legend(orient="top", title=None, labelLimit=260, columns=across, symbolSize=110)
    if len(present) < 2:
        legend = None
    colour = alt.Color("group:N", scale=alt.Scale(domain=present, range=[groups[g][0] for g in present]), legend=legend)
    shape = alt.Shape("group:N", scale=alt.Scale(domain=present, range=[groups[g][1] for g in present]), legend=legend)
    tooltip = [alt.Tooltip("label:N", title=" "), alt.Tooltip("group:N", title="  "), alt.Tooltip("text:N", title="Value")]
    base = alt.Chart(data).encode(y=y, color=colour)
    rules = base.mark_rule(strokeWidth=1.5).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"))
    points = base.mark_point(filled=True, size=80, opacity=1).encode(x, shape, tooltip=tooltip)
    titles = pd.DataFrame({"label": labels, "row": [starts[label] + 9 for label in labels], "left": domain[0]})
    font = {"align": "left", "fontSize": 12, "fontWeight": 600, "limit": 0}
    names = alt.Chart(titles).encode(x="left:Q", y=y, text="label:N")
    halo = names.mark_text(**font, color=PAPER[theme], stroke=PAPER[theme], strokeWidth=4)
    layers = [rules, points, halo, names.mark_text(**font, color=INK[theme])]
    if least is not None:
        line = alt.Chart(pd.DataFrame({"value": [least]})).mark_rule(strokeDash=[4, 3], color=GREY)
        layers.insert(0, line.encode(x="value:Q"))
    lines = 0 if legend is None else -(-len(present) // across)
    return alt.layer(*layers).properties(height=total + 70 + 32 * lines)


def _heights(data: pd.DataFrame, labels: list[str]) -> list[int]:
    counts = data["label"].value_counts()
    return [_HEAD + _LINE * int(counts[label]) for label in labels]
