"""ROC curves of an audit on logarithmic axes: as inline SVG for a page, and as an altair chart for a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from benchmark.evaluation.audit.report import QUESTIONS, AuditReport
from benchmark.interfaces import Contrast, FaceVeilError
from benchmark.records.results import ContrastResult

if TYPE_CHECKING:
    import altair

SHOWN = 5  # strongest attacks of a contrast
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 560, 400, 62, 46, 10, 14
COLOURS = 8  # the CSS variables --line-1 .. --line-8 of the page
DASHES = ("", "7 3", "2 3", "10 3 2 3", "5 5")  # beside colours, for readers who do not tell those apart


def strongest(report: AuditReport, contrast: Contrast, count: int = SHOWN) -> list[tuple[str, ContrastResult]]:
    """The attacks with the largest AUC on a contrast, by label."""
    found = [(a.label, a.contrasts[contrast]) for a in report.attacks if contrast in a.contrasts]
    return sorted(found, key=lambda pair: -(pair[1].metrics["auc"].value or 0.0))[:count]


def line_numbers(report: AuditReport) -> dict[str, int]:
    """The look of every attack that some chart of the report draws, by label: the same one on all of them."""
    shown = [name for contrast in Contrast for name, _ in strongest(report, contrast)]
    return {name: number for number, name in enumerate(dict.fromkeys(shown))}


def line_look(number: int) -> tuple[str, str]:
    """Colour and dashes, as CSS and SVG take them; no two of the first 40 are the same."""
    return f"var(--line-{number % COLOURS + 1})", DASHES[(number // COLOURS + number % COLOURS) % len(DASHES)]


def least_rate(curves: Sequence[ContrastResult]) -> float:
    """The lower end of both axes: a power of ten at or below one photo of the smaller class."""
    smallest = min(1 / max(1, min(c.n_negative, c.n_positive)) for c in curves)
    return float(10.0 ** math.floor(math.log10(smallest)))


def svg(report: AuditReport, contrast: Contrast) -> str:
    """The strongest attacks on one contrast."""
    curves, numbers = strongest(report, contrast), line_numbers(report)
    least = least_rate([c for _, c in curves])
    label = f"ROC curves on logarithmic axes: {QUESTIONS[contrast]}. " + "; ".join(
        f"{name}: AUC {c.metrics['auc'].value:.3f}" for name, c in curves
    )
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    decades = round(-math.log10(least))
    for power in range(-decades, 1):
        x, y = _x(10.0**power, least), _y(10.0**power, least)
        tick = "1" if power == 0 else f"{10.0**power:g}"
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<line class="grid" y1="{y:.1f}" y2="{y:.1f}" x1="{LEFT}" x2="{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{tick}</text>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>')
    parts.append(f'<polyline class="chance" points="{_points([(least, least), (1.0, 1.0)], least)}"/>')
    for name, curve in curves:
        colour, dashes = line_look(numbers[name])
        points = _points([*_stairs(curve.roc), (1.0, 1.0)], least)
        parts.append(
            f'<polyline class="curve" style="stroke: {colour}" stroke-dasharray="{dashes or "none"}" points="{points}"/>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">false positive rate</text>')
    turned = f'transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">true positive rate</text></svg>')
    return "".join(parts)


def _stairs(roc: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A thinned curve drawn as the step function it is: between two operating points nothing is reached."""
    points: list[tuple[float, float]] = []
    for fpr, tpr in sorted(roc):
        if points:
            points.append((fpr, points[-1][1]))
        points.append((fpr, tpr))
    return points


def _points(points: Sequence[tuple[float, float]], least: float) -> str:
    return " ".join(f"{_x(fpr, least):.1f},{_y(tpr, least):.1f}" for fpr, tpr in points)


def _share(rate: float, least: float) -> float:
    """0 at the lower end of the axis (and below it), 1 at a rate of 1."""
    return 1 - math.log10(max(rate, least)) / math.log10(least)


def _x(rate: float, least: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * _share(rate, least)


def _y(rate: float, least: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * _share(rate, least)


def chart(report: AuditReport, contrast: Contrast | None) -> altair.LayerChart | altair.FacetChart:
    """The same as an altair chart.

    Raises:
        FaceVeilError: no attack has a curve there.
    """
    import altair as alt
    import pandas as pd

    asked = [c for c in ([contrast] if contrast else Contrast) if strongest(report, c)]
    if not asked:
        raise FaceVeilError("there is no curve to draw: no attack was applicable to these photos.")
    chosen = asked[0]
    curves = strongest(report, chosen)
    least = least_rate([c for _, c in curves])
    rows = [
        {"attack": name, "FPR": max(fpr, least), "TPR": max(tpr, least), "order": i}
        for name, curve in curves
        for i, (fpr, tpr) in enumerate(_stairs(curve.roc))
    ]
    log = alt.Scale(type="log", domain=[least, 1])
    everyone = alt.Scale(domain=list(line_numbers(report)))  # of all contrasts, so that an attack keeps its colour
    lines = (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(clip=True)
        .encode(
            x=alt.X("FPR:Q", scale=log, title="false positive rate"),
            y=alt.Y("TPR:Q", scale=log, title="true positive rate"),
            color=alt.Color("attack:N", scale=everyone, legend=alt.Legend(values=[name for name, _ in curves])),
            strokeDash=alt.StrokeDash("attack:N", scale=everyone, legend=None),
            order="order:Q",
        )
    )
    chance = (
        alt.Chart(pd.DataFrame({"FPR": [least, 1], "TPR": [least, 1]}))
        .mark_line(color="grey", strokeDash=[4, 4])
        .encode(x="FPR:Q", y="TPR:Q")
    )
    return alt.layer(chance, lines).properties(title=QUESTIONS[chosen], width=420, height=320)
