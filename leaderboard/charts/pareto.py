"""Altair charts: data frames in, charts out.  Colours are Okabe and Ito's (jfly.uni-koeln.de/color, 2008), never alone:
families differ by shape too.
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from benchmark.records.results import interval_text
from leaderboard.board.frame import rank_text
from leaderboard.charts.palette import BLUE, BROWN, GREEN, GREY, INK, ORANGE, PAPER, PINK, SKY, VERMILION, WINE

# text in the plot and what it stands on, by theme
# family: colour, shape
STYLES = {
    "No defence": (GREY, "circle"),
    "Control": (GREY, "triangle"),
    "BN statistics": (BLUE, "square"),
    "Differential privacy": (VERMILION, "triangle-up"),
    "Training": (GREEN, "diamond"),
    "Architecture": (PINK, "triangle-down"),
    "Input": (BROWN, "triangle-left"),
    "Unlearning": (WINE, "wedge"),
    "Embedding": (ORANGE, "cross"),
    "Combined": (SKY, "triangle-right"),
    "Other": (GREY, "stroke"),
}
_NAME_LENGTH = 32


def short(text: str, length: int = _NAME_LENGTH) -> str:
    """The text, cut with an ellipsis."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def pareto(
    frame: pd.DataFrame,
    theme: str = "light",
    height: int = 460,
    title: str = "Leakage, membership advantage",
    least: float = 0.0,
) -> alt.LayerChart:
    """Utility against leakage with 95 % intervals; better is up and to the right, so leakage falls along the axis.

    ``frame`` has the columns of :data:`leaderboard.board.frame.COLUMNS`; rows without both values are left out.  Entries of
    rank 1
    are filled, and named as far as there is room; the others are hollow and pale.  ``theme``: light or dark.  ``least``: the
    leakage of a backbone that leaks nothing, always in sight.
    """
    data = _pareto_data(frame)
    families = [f for f in STYLES if f in set(data["family"])]
    colours, shapes = [STYLES[f][0] for f in families], [STYLES[f][1] for f in families]
    legend = alt.Legend(orient="top", title=None, symbolSize=110, symbolOpacity=1, columns=2, labelLimit=0)
    colour = alt.Color("family:N", scale=alt.Scale(domain=families, range=colours), legend=legend)
    shape = alt.Shape("family:N", scale=alt.Scale(domain=families, range=shapes), legend=legend)
    x_range, y_range = _range(data, "leakage", include=least), _range(data, "utility")
    axis = alt.Axis(tickCount=8, format=".2f", labelOverlap=True)
    x = alt.X(
        "leakage:Q",
        title=f"{title}  (less →)",
        axis=axis,
        scale=alt.Scale(domain=x_range, reverse=True, nice=False),
    )
    y = alt.Y("utility:Q", title="Utility, TAR@FAR=1e-3  (better ↑)", axis=axis, scale=alt.Scale(domain=y_range, nice=False))
    tooltip = [
        alt.Tooltip("entry:N", title="Entry"),
        alt.Tooltip("place:N", title="Rank"),
        alt.Tooltip("defense:N", title="Defence"),
        alt.Tooltip("utility_text:N", title="Utility"),
        alt.Tooltip("leakage_text:N", title="Leakage"),
        alt.Tooltip("leakage_attack:N", title="Attack"),
        alt.Tooltip("leakage_contrast:N", title="Contrast"),
    ]
    # channels are objects and the data stand once, on the whole: Altair is many times slower at guessing and at copying
    base = alt.Chart().encode(x, y, colour)
    pale = 0.6 if theme == "light" else 0.85
    others = (
        base.transform_filter("!datum.front").encode(shape, tooltip=tooltip).mark_point(size=100, strokeWidth=2, opacity=pale)
    )
    points = base.transform_filter("datum.front").encode(shape, tooltip=tooltip).mark_point(filled=True, size=140, opacity=1)
    faint = {"opacity": alt.condition("datum.front", alt.value(0.75), alt.value(pale / 2))}
    across = base.encode(alt.X("leakage_low:Q"), alt.X2("leakage_high:Q"), **faint).mark_rule(strokeWidth=1.5)
    along = base.encode(alt.Y("utility_low:Q"), alt.Y2("utility_high:Q"), **faint).mark_rule(strokeWidth=1.5)
    _place_names(data, x_range, y_range, height - 110)
    return alt.layer(across, along, others, points, *_names(data, theme), data=data).properties(height=height)


def nameless(chart: alt.LayerChart) -> int:
    """How many entries of the front of :func:`pareto`'s chart found no room for their name."""
    return int((chart.data["front"] & (chart.data["side"] == "")).sum())


def _pareto_data(frame: pd.DataFrame) -> pd.DataFrame:
    data = frame.dropna(subset=["utility", "leakage"]).copy()
    data["front"] = (data["rank"] == 1).fillna(False).astype(bool)
    data["place"] = [rank_text(r, t) for r, t in zip(data["rank"], data["tied"], strict=True)]
    data["label"] = data["entry"].map(short)
    for axis in ("utility", "leakage"):
        columns = [data[axis], data[f"{axis}_low"], data[f"{axis}_high"], data[f"{axis}_n"], data[f"{axis}_unit"]]
        texts = [f"{interval_text(v, lo, hi)}, n = {n} {unit}" for v, lo, hi, n, unit in zip(*columns, strict=True)]
        data[f"{axis}_text"] = pd.Series(texts, index=data.index, dtype=object)
    kept = ["entry", "label", "place", "front", "family", "defense", "leakage_attack", "leakage_contrast"]
    kept += [f"{axis}{end}" for axis in ("utility", "leakage") for end in ("", "_low", "_high", "_text")]
    return data[kept].reset_index(drop=True)


def _range(data: pd.DataFrame, axis: str, include: float | None = None) -> list[float]:
    """The axis from the lowest to the highest interval end, with a margin."""
    values = data[[axis, f"{axis}_low", f"{axis}_high"]].to_numpy(float).ravel()
    values = values[np.isfinite(values)]
    if include is not None:
        values = np.append(values, include)
    if not len(values):
        return [0.0, 1.0]
    margin = max(0.06 * float(np.ptp(values)), 0.01)
    return [float(values.min()) - margin, float(values.max()) + margin]


def _place_names(data: pd.DataFrame, x_range: list[float], y_range: list[float], height: int) -> None:
    """Adds ``spot`` (where the name of a front entry stands, on the utility axis) and ``side`` (how it is aligned).

    Each name stands above its point or, where that is taken, below or further off; where all of that is, it has none and
    its side is empty.  ``height``: of the plot without legend and axis, pixels.
    """
    width, line = 480, 16  # pixels, between a phone and a desktop
    data["spot"], data["side"] = np.nan, ""
    taken: list[tuple[float, float, float]] = []
    for row in data[data["front"]].sort_values(["leakage", "utility"]).itertuples():
        x = (x_range[1] - row.leakage) / (x_range[1] - x_range[0]) * width
        y = (y_range[1] - row.utility) / (y_range[1] - y_range[0]) * height
        side = "left" if x < width / 4 else "right" if x > width * 3 / 4 else "center"
        length = 7.0 * len(row.label)
        start = x - {"left": 0, "center": length / 2, "right": length}[side]
        options = [y + step for step in (-line, line + 2, -2 * line, 2 * line + 2, -3 * line) if line <= y + step <= height - 6]
        free = [o for o in options if all(abs(o - t) >= line or start > e or start + length < s for s, e, t in taken)]
        if not free:
            continue
        spot = free[0]
        taken.append((start, start + length, spot))
        data.loc[row.Index, ["spot", "side"]] = [y_range[1] - spot / height * (y_range[1] - y_range[0]), side]


def _names(data: pd.DataFrame, theme: str) -> list[alt.Chart]:
    """The names of the front, on a halo that keeps them apart from the intervals."""
    layers = []
    for side, aside in (("left", 7), ("center", 0), ("right", -7)):
        if side in set(data["side"]):
            chart = alt.Chart().transform_filter(f"datum.side == '{side}'")
            chart = chart.encode(alt.X("leakage:Q"), alt.Y("spot:Q"), alt.Text("label:N"))
            font = {"align": side, "dx": aside, "fontSize": 12, "fontWeight": 600, "baseline": "middle"}
            layers.append(chart.mark_text(**font, color=PAPER[theme], stroke=PAPER[theme], strokeWidth=4, opacity=0.85))
            layers.append(chart.mark_text(**font, color=INK[theme]))
    return layers


def pareto_alt(frame: pd.DataFrame, leakage: str = "membership advantage") -> str:
    """What the Pareto chart shows, in words, for screen readers."""
    shown = frame.dropna(subset=["utility", "leakage"])
    front = shown[(shown["rank"] == 1).fillna(False).astype(bool)]
    best = "; ".join(f"{r.entry}: utility {r.utility:.3f}, leakage {r.leakage:.3f}" for r in front.itertuples())
    return f"Scatter plot of {len(shown)} entries, utility against {leakage}. Rank 1: {best or 'none'}."
