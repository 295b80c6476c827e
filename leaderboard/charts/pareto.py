"""Altair charts: data frames in, charts out.  Colours are Okabe and Ito's (jfly.uni-koeln.de/color, 2008), never alone:
families differ by shape too.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from benchmark.records.results import interval_text
from leaderboard.board.frame import rank_text
from leaderboard.charts.naming import PLACES, place_names
from leaderboard.charts.palette import BLUE, BROWN, GREEN, GREY, INK, ORANGE, PAPER, PINK, SKY, VERMILION, WINE

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
_NAME_LENGTH = 48
MOST_NAMES = 150  # entries that are named at most
_TOLD = {  # under the pointer
    "entry": "Entry", "place": "Rank", "defense": "Defence", "utility_text": "Utility", "leakage_text": "Leakage",
    "leakage_attack": "Attack", "leakage_contrast": "Contrast",
}  # fmt: skip


def short(text: str, length: int = _NAME_LENGTH) -> str:
    """The text, cut with an ellipsis."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def pareto(
    frame: pd.DataFrame,
    theme: str = "light",
    height: int = 560,
    title: str = "Leakage, membership advantage",
    least: float = 0.0,
    width: int = 1080,
) -> alt.LayerChart | alt.FacetChart:
    """Utility against leakage with 95 % intervals; better is up and to the right, so leakage falls along the axis.

    ``frame`` has the columns of :data:`leaderboard.board.columns.COLUMNS`; rows without both values are left out.  Entries of
    rank 1 are filled, the others hollow and pale; each is named as far as there is room, and opens its page.  Where nothing
    was found, the zone up to the largest detection limit is shaded.

    Args:
        theme: light or dark.
        height: of the whole chart, pixels.
        least: the leakage of a backbone that leaks nothing, always in sight.
        width: about that of the page, pixels: names are placed for it.
    """
    data = points_of(frame)
    x_range, y_range = axis_range(data, "leakage", include=least), axis_range(data, "utility")
    families = [f for f in STYLES if f in set(data["family"])]
    colours, shapes = [STYLES[f][0] for f in families], [STYLES[f][1] for f in families]
    across = max(1, min(len(families), width // 128))
    legend = alt.Legend(orient="top", title=None, symbolSize=110, symbolOpacity=1, columns=across, labelLimit=0)
    colour = alt.Color("family:N", scale=alt.Scale(domain=families, range=colours), legend=legend)
    shape = alt.Shape("family:N", scale=alt.Scale(domain=families, range=shapes), legend=legend)
    axis = alt.Axis(tickCount=8, format=".2f", labelOverlap=True, domain=False)
    x = alt.X(
        "leakage:Q",
        title=f"{title}  (less →)",
        axis=axis,
        scale=alt.Scale(domain=x_range, reverse=True, nice=False, zero=False),
    )
    y = alt.Y(
        "utility:Q",
        title="Utility, TAR@FAR=1e-3  (better ↑)",
        axis=axis,
        scale=alt.Scale(domain=y_range, nice=False, zero=False),
    )
    tooltip = [alt.Tooltip(f"{column}:N", title=name) for column, name in _TOLD.items()]
    # channels are objects and the data stand once, on the whole: Altair is many times slower at guessing and at copying
    base = alt.Chart().encode(x, y, colour)
    pale = 0.6 if theme == "light" else 0.85
    dot: dict[str, Any] = {"tooltip": tooltip, "href": alt.Href("address:N")}
    others = base.transform_filter("!datum.front").encode(shape, **dot).mark_point(size=100, strokeWidth=2, opacity=pale)
    points = base.transform_filter("datum.front").encode(shape, **dot).mark_point(filled=True, size=140, opacity=1)
    faint: dict[str, Any] = {"opacity": alt.condition("datum.front", alt.value(0.75), alt.value(pale / 2))}
    clip: dict[str, Any] = {"strokeWidth": 1.5, "clip": True}
    across_rule = base.encode(alt.X("leakage_low:Q"), alt.X2("leakage_high:Q"), **faint).mark_rule(**clip)
    along = base.encode(alt.Y("utility_low:Q"), alt.Y2("utility_high:Q"), **faint).mark_rule(**clip)
    # rows of the legend, axis and its title take their part of the height
    _place(data, x_range, y_range, width - 90, height - 80 - 26 * -(-len(families) // across))
    layers = [*_zone(frame, x_range, theme), across_rule, along, others, points.add_params(_zoom()), *_names(data, theme)]
    return alt.layer(*layers, data=data).properties(height=height)


def nameless(chart: alt.LayerChart | alt.FacetChart) -> int:
    """How many entries of :func:`pareto`'s chart found no room for their name."""
    assert isinstance(chart.data, pd.DataFrame)
    return int((chart.data["place_of_name"] < 0).sum())


def detection_limit(frame: pd.DataFrame) -> float | None:
    """The largest leakage that is not ruled out of the entries in which nothing was found; None where there is none."""
    limits = frame.loc[frame["nothing_found"].astype(bool), "leakage_high"].dropna()
    return float(limits.max()) if len(limits) else None


def points_of(frame: pd.DataFrame) -> pd.DataFrame:
    """What is drawn of each entry that has both values, the front first."""
    data = frame.dropna(subset=["utility", "leakage"]).copy()
    data["front"] = (data["rank"] == 1).fillna(False).astype(bool)
    data["place"] = [rank_text(r, t) for r, t in zip(data["rank"], data["tied"], strict=True)]
    data["label"] = data["title"].map(short)
    data["address"] = "submission?entry=" + data["key"].astype(str)
    for axis in ("utility", "leakage"):
        columns = [data[axis], data[f"{axis}_low"], data[f"{axis}_high"], data[f"{axis}_n"], data[f"{axis}_unit"]]
        texts = [f"{interval_text(v, lo, hi)}, n = {n} {unit}" for v, lo, hi, n, unit in zip(*columns, strict=True)]
        data[f"{axis}_text"] = pd.Series(texts, index=data.index, dtype=object)
    kept = ["entry", "label", "key", "address", "place", "front", "family", "defense", "leakage_attack", "leakage_contrast"]
    kept += [f"{axis}{end}" for axis in ("utility", "leakage") for end in ("", "_low", "_high", "_text")]
    return data[kept].sort_values("front", ascending=False, kind="stable").reset_index(drop=True)


def axis_range(data: pd.DataFrame, axis: str, include: float | None = None) -> list[float]:
    """The axis from the lowest to the highest interval end, with a margin."""
    values = data[[axis, f"{axis}_low", f"{axis}_high"]].to_numpy(float).ravel()
    values = values[np.isfinite(values)]
    if include is not None:
        values = np.append(values, include)
    if not len(values):
        return [0.0, 1.0]
    margin = max(0.06 * float(np.ptp(values)), 0.01)
    return [float(values.min()) - margin, float(values.max()) + margin]


def names_placed(
    data: pd.DataFrame, x_range: list[float], y_range: list[float], width: float, height: float
) -> list[int | None]:
    """:func:`leaderboard.charts.naming.place_names` for the rows of :func:`points_of` in a plot of that size."""
    across = (x_range[1] - data["leakage"].to_numpy(float)) / (x_range[1] - x_range[0]) * width
    down = (y_range[1] - data["utility"].to_numpy(float)) / (y_range[1] - y_range[0]) * height
    most = min(len(data), MOST_NAMES)  # every name is compared with all that stand
    chosen = place_names(list(zip(across[:most], down[:most], strict=True)), list(data["label"][:most]), width, height)
    return chosen + [None] * (len(data) - most)


def _place(data: pd.DataFrame, x_range: list[float], y_range: list[float], width: float, height: float) -> None:
    """Adds ``place_of_name``: the index in :data:`PLACES`, -1 where there is no room."""
    data["place_of_name"] = [-1 if i is None else i for i in names_placed(data, x_range, y_range, width, height)]


def _zoom() -> alt.Parameter:
    """The wheel moves the page; with Shift it zooms.  Dragging moves, a double click goes back."""
    return alt.selection_interval(bind="scales", zoom="wheel![event.shiftKey]")


def _zone(frame: pd.DataFrame, x_range: list[float], theme: str) -> list[alt.Chart]:
    """The zone in which nothing was found, with its limit in words."""
    limit = detection_limit(frame)
    if limit is None:
        return []
    data = pd.DataFrame([{"from": x_range[0], "to": limit, "text": f"nothing found; up to {limit:.2f} not ruled out"}])
    base = alt.Chart(data)
    zone = base.mark_rect(color=GREEN, opacity=0.10, clip=True).encode(x=alt.X("from:Q"), x2="to:Q")
    font: dict[str, Any] = {"align": "right", "baseline": "bottom", "dx": -4, "dy": -4, "fontSize": 11, "color": INK[theme]}
    return [zone, base.mark_text(**font, fontStyle="italic").encode(x=alt.X("from:Q"), y=alt.value("height"), text="text:N")]


def _names(data: pd.DataFrame, theme: str) -> list[alt.Chart]:
    """The names, on a halo that keeps them apart from the intervals."""
    layers = []
    for number in sorted(set(data["place_of_name"]) - {-1}):
        place = PLACES[number]
        chart = alt.Chart().transform_filter(f"datum.place_of_name == {number}")
        chart = chart.encode(alt.X("leakage:Q"), alt.Y("utility:Q"), alt.Text("label:N"), href=alt.Href("address:N"))
        font: dict[str, Any] = {
            "align": place.align,
            "dx": place.dx,
            "dy": place.dy,
            "fontSize": 12,
            "baseline": "middle",
            "clip": True,
        }
        layers.append(chart.mark_text(**font, color=PAPER[theme], stroke=PAPER[theme], strokeWidth=4, opacity=0.85))
        layers.append(chart.mark_text(**font, color=INK[theme]))
    return layers


def pareto_alt(frame: pd.DataFrame, leakage: str = "membership advantage") -> str:
    """What the Pareto chart shows, in words, for screen readers."""
    shown = frame.dropna(subset=["utility", "leakage"])
    front = shown[(shown["rank"] == 1).fillna(False).astype(bool)]
    best = "; ".join(f"{r.entry}: utility {r.utility:.3f}, leakage {r.leakage:.3f}" for r in front.itertuples())
    return f"Scatter plot of {len(shown)} entries, utility against {leakage}. Rank 1: {best or 'none'}."
