"""Plots as SVG: text and lines follow the reader's light or dark scheme, a point opens its entry, no script is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

import pandas as pd

from leaderboard.charts.naming import PLACES
from leaderboard.charts.palette import GREEN
from leaderboard.charts.pareto import STYLES, axis_range, detection_limit, names_placed, points_of
from leaderboard.charts.roc import least_rate, line_style

Scale = Callable[[float], float]
_STYLE = """<style>text{font:13px system-ui,sans-serif;fill:#1b2430}.note{fill:#4a5563;font-size:12px}.grid{stroke:#dde2e8}
.halo{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}a:hover text,a:focus text{text-decoration:underline}
@media (prefers-color-scheme:dark){text{fill:#e6eaf0}.note{fill:#a7b1bd}.grid{stroke:#323b48}.halo{stroke:#12171e}}</style>"""
_LEFT, _RIGHT, _BOTTOM = 66, 16, 48  # pixels around a plot
_SHAPES = {  # in a square of two by two around the origin
    "square": "M-1-1H1V1H-1Z",
    "diamond": "M0-1.2 1.2 0 0 1.2-1.2 0Z",
    "triangle": "M0-1.2 1.1.9H-1.1Z",
    "triangle-up": "M0-1.2 1.1.9H-1.1Z",
    "triangle-down": "M0 1.2 1.1-.9H-1.1Z",
    "triangle-left": "M-1.2 0 .9-1.1V1.1Z",
    "triangle-right": "M1.2 0-.9-1.1V1.1Z",
    "cross": "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
    "wedge": "M0-1.2.6 1.1H-.6Z",
    "stroke": "M-1.2-.3H1.2V.3H-1.2Z",
    "circle": "M-1 0A1 1 0 1 1 1 0A1 1 0 1 1-1 0Z",
}


class Figure:
    """An SVG that grows; pixels from the top left."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def text(self, x: float, y: float, text: str, anchor: str = "start", kind: str = "", turned: bool = False) -> None:
        """A line of text; ``kind``: note or halo."""
        turn = f" transform='rotate(-90 {x:.1f} {y:.1f})'" if turned else ""
        self.parts.append(f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' class='{kind}'{turn}>{escape(text)}</text>")

    def line(self, x1: float, y1: float, x2: float, y2: float, look: str) -> None:
        """A line; ``look``: attributes of ours."""
        self.parts.append(f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' {look}/>")

    def shape(self, x: float, y: float, style: tuple[str, str], size: float = 6, hollow: bool = False) -> None:
        """A mark of a colour and a shape, as of the families."""
        colour, shape = style
        look = f"fill='none' stroke='{colour}' stroke-width='{2 / size:.2f}'" if hollow else f"fill='{colour}'"
        self.parts.append(f"<path d='{_SHAPES[shape]}' transform='translate({x:.1f} {y:.1f}) scale({size})' {look}/>")

    def svg(self) -> str:
        """The whole drawing."""
        size = f"viewBox='0 0 {self.width:.0f} {self.height:.0f}'"
        role = "group" if any(part.startswith("<a ") for part in self.parts) else "img"  # what is in a picture cannot be tapped
        head = f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='{role}' aria-label='{escape(self.title, True)}'>"
        return "\n".join([head, f"<title>{escape(self.title)}</title>", _STYLE, *self.parts, "</svg>\n"])


def _ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round values inside a range."""
    raw = (high - low) / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
    return [round(step * k, 10) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _axes(
    figure: Figure, top: float, x: tuple[Scale, Iterable[float], str], y: tuple[Scale, Iterable[float], str] | None, form: str
) -> None:
    """Grid, ticks and titles below and left."""
    bottom, right = figure.height - _BOTTOM, figure.width - _RIGHT
    scale, ticks, title = x
    for tick in ticks:
        figure.line(scale(tick), top, scale(tick), bottom, "class='grid'")
        figure.text(scale(tick), bottom + 18, format(tick, form), "middle", "note")
    figure.text(figure.width / 2, figure.height - 8, title, "middle", "note")
    if y is None:
        return
    scale, ticks, title = y
    for tick in ticks:
        figure.line(_LEFT, scale(tick), right, scale(tick), "class='grid'")
        figure.text(_LEFT - 8, scale(tick) + 4, format(tick, form), "end", "note")
    figure.text(16, (top + bottom) / 2, title, "middle", "note", turned=True)


def _legend(figure: Figure, items: Sequence[tuple[str, tuple[str, str]]]) -> float:
    """Marks with their names in rows on top; returns where the plot begins."""
    x, y = float(_LEFT), 16.0
    for name, style in items:
        length = 26 + 7.2 * len(name)
        if x + length > figure.width:
            x, y = float(_LEFT), y + 22
        figure.shape(x + 6, y, style)
        figure.text(x + 18, y + 4, name, kind="note")
        x += length + 12
    return y + 18


def pareto(frame: pd.DataFrame, root: str, width: int = 980, height: int = 560) -> str:
    """Utility against leakage, as on the board.

    Args:
        frame: entries of one scope, with the columns of the board.
        root: where pages begin, seen from the page that shows the plot.
    """
    data = points_of(frame)
    figure = Figure(width, height, f"Utility against leakage of {len(data)} entries; better is up and to the right")
    families = [family for family in STYLES if family in set(data["family"])]
    top = _legend(figure, [(family, STYLES[family]) for family in families])
    x_range, y_range = axis_range(data, "leakage", include=0.0), axis_range(data, "utility")
    inner, high = width - _LEFT - _RIGHT, height - _BOTTOM - top

    def x(value: float) -> float:
        return _LEFT + (x_range[1] - value) / (x_range[1] - x_range[0]) * inner

    def y(value: float) -> float:
        return top + (y_range[1] - value) / (y_range[1] - y_range[0]) * high

    limit = detection_limit(frame)
    if limit is not None:
        start = max(x(limit), _LEFT)
        figure.parts.append(
            f"<rect x='{start:.1f}' y='{top:.1f}' width='{width - _RIGHT - start:.1f}' height='{high:.1f}' fill='{GREEN}' "
            "fill-opacity='.1'/>"
        )
        note = f"nothing found; up to {limit:.2f} not ruled out"
        figure.text(width - _RIGHT - 4, height - _BOTTOM - 6, note, "end", "note")
    across = (x, _ticks(x_range[0], x_range[1]), "Leakage, membership advantage  (less →)")
    _axes(figure, top, across, (y, _ticks(y_range[0], y_range[1]), "Utility, TAR@FAR=1e-3  (better ↑)"), ".2f")
    for row in data.itertuples():
        look = f"stroke='{STYLES[row.family][0]}' stroke-width='1.5' stroke-opacity='{0.75 if row.front else 0.4}'"
        if not pd.isna(row.leakage_low):
            figure.line(x(row.leakage_low), y(row.utility), x(row.leakage_high), y(row.utility), look)
        if not pd.isna(row.utility_low):
            figure.line(x(row.leakage), y(row.utility_low), x(row.leakage), y(row.utility_high), look)
    for row, place in zip(data.itertuples(), names_placed(data, x_range, y_range, inner, high), strict=True):
        told = f"{row.label}: rank {row.place}, utility {row.utility_text}, leakage {row.leakage_text} by {row.leakage_attack}"
        figure.parts.append(f"<a href='{escape(root, True)}entries/{row.key}.html'><title>{escape(told)}</title>")
        figure.shape(x(row.leakage), y(row.utility), STYLES[row.family], 6.5 if row.front else 5.5, hollow=not row.front)
        if place is not None:
            at, anchors = PLACES[place], {"left": "start", "center": "middle", "right": "end"}
            figure.text(x(row.leakage) + at.dx, y(row.utility) + at.dy + 4, row.label, anchors[at.align], "halo")
        figure.parts.append("</a>")
    return figure.svg()


def dots(data: pd.DataFrame, styles: dict[str, tuple[str, str]], title: str, least: float, width: int = 980) -> str:
    """A row a ``label`` with a dot a ``group`` and its interval; ``data`` as for :func:`leaderboard.charts.dots.dots`."""
    data = data.dropna(subset=["value"])
    labels = list(dict.fromkeys(data["label"]))
    left = min(440.0, 20 + 7.4 * max(map(len, labels), default=0))
    line, air = 15, 9
    heights = [air + line * int((data["label"] == label).sum()) for label in labels]
    figure = Figure(width, sum(heights) + 42 + _BOTTOM, f"{title}, a row a name, with 95 % intervals")
    top = _legend(figure, [(group, styles[group]) for group in styles if group in set(data["group"])])
    figure.height += top - 34
    ends = [v for v in data[["value", "low", "high"]].to_numpy(float).ravel() if math.isfinite(v)] + [least]
    low, high = float(min(min(ends), least - 0.05)), float(max(ends)) + 0.01

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - _RIGHT)

    _axes(figure, top, (x, _ticks(low, high, 6), title), None, ".2f")
    figure.line(x(least), top, x(least), figure.height - _BOTTOM, "stroke='#8a8f98' stroke-dasharray='4 3'")
    y = top
    for label, height in zip(labels, heights, strict=True):
        figure.text(left - 10, y + height / 2 + 4, label, "end")
        for i, row in enumerate(data[data["label"] == label].itertuples()):
            at = y + air / 2 + line * (i + 0.5)
            if not pd.isna(row.low):
                figure.line(x(row.low), at, x(row.high), at, f"stroke='{styles[row.group][0]}' stroke-width='1.5'")
            figure.shape(x(row.value), at, styles[row.group], 4.5)
        y += height
    return figure.svg()


def roc(points: pd.DataFrame, highlight: str, names: Sequence[str], width: int = 980, height: int = 520) -> str:
    """ROC curves on log axes from one photo of all, with the band of the highlighted one.

    Args:
        points: with the column ``attack``.
        names: every attack, in the order of the colours.
    """
    data = points[(points["fpr"] > 0) & (points["tpr"] > 0)]
    curves = list(dict.fromkeys(data["attack"]))
    styles = {name: line_style(names.index(name)) for name in curves}
    figure = Figure(width, height, f"ROC curves of {len(curves)} attacks on log axes")
    top = _legend(figure, [(name, (colour, "stroke")) for name, (colour, _) in styles.items()])
    x_least, y_least = least_rate(data, "negatives"), least_rate(data, "positives")

    def x(value: float) -> float:
        return _LEFT + (1 - math.log10(max(value, x_least)) / math.log10(x_least)) * (width - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return top + math.log10(max(value, y_least)) / math.log10(y_least) * (height - _BOTTOM - top)

    across = (x, [10.0**k for k in range(math.ceil(math.log10(x_least)), 1)], "False positive rate")
    up = (y, [10.0**k for k in range(math.ceil(math.log10(y_least)), 1)], "True positive rate")
    _axes(figure, top, across, up, "g")
    start = max(x_least, y_least)
    figure.line(x(start), y(start), x(1), y(1), "stroke='#8a8f98' stroke-dasharray='4 3'")
    for name, group in data.groupby("attack", sort=False):
        colour, dashes = styles[name]
        fpr = list(group["fpr"])
        if name == highlight:
            band = _stairs(fpr, list(group["tpr_high"]), x, y) + _stairs(fpr, list(group["tpr_low"]), x, y)[::-1]
            figure.parts.append(f"<polygon points='{' '.join(band)}' fill='{colour}' fill-opacity='.15'/>")
        dash, width_ = ",".join(map(str, dashes)), 3 if name == highlight else 1.6
        look = f"fill='none' stroke='{colour}' stroke-width='{width_}' stroke-dasharray='{dash}'"
        figure.parts.append(f"<polyline points='{' '.join(_stairs(fpr, list(group['tpr']), x, y))}' {look}/>")
    return figure.svg()


def _stairs(across: list[float], up: list[float], x: Scale, y: Scale) -> list[str]:
    """A curve that keeps each value until the next."""
    found = []
    for i, (value, height) in enumerate(zip(across, up, strict=True)):
        if i:
            found.append(f"{x(value):.1f},{y(up[i - 1]):.1f}")
        found.append(f"{x(value):.1f},{y(height):.1f}")
    return found
