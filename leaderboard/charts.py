"""Altair charts: data frames in, charts out.  Colours are Okabe and Ito's (jfly.uni-koeln.de/color, 2008), never alone:
families differ by shape too, contrasts by place, ROC curves by dashes.
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from leaderboard.details import interval

GREY = "#8A8F98"
# text in the plot and what it stands on, by theme
INK = {"light": "#1B2430", "dark": "#E6EAF0"}
PAPER = {"light": "#FFFFFF", "dark": "#12171E"}
# family: colour, shape
STYLES = {
    "No defence": (GREY, "circle"),
    "BN statistics": ("#0072B2", "square"),
    "Differential privacy": ("#D55E00", "triangle-up"),
    "Training": ("#009E73", "diamond"),
    "Architecture": ("#CC79A7", "triangle-down"),
    "Embedding": ("#E69F00", "cross"),
    "Combined": ("#56B4E9", "triangle-right"),
    "Other": (GREY, "stroke"),
}
CONTRAST_COLOURS = {"sample": "#0072B2", "identity": "#E69F00", "seen_vs_held_out": GREY}
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", GREY)
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
_NAME_LENGTH = 32


def short(text: str, length: int = _NAME_LENGTH) -> str:
    """The text, cut with an ellipsis."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def pareto(frame: pd.DataFrame, theme: str = "light", height: int = 460) -> alt.LayerChart:
    """Utility against leakage with 95 % intervals; better is up and to the right, so leakage falls along the axis.

    ``frame`` has the columns of :data:`leaderboard.frame.COLUMNS`; rows without both values are left out.  Entries of rank 1
    are filled and named, the others hollow and pale.  ``theme``: light or dark.
    """
    data = _pareto_data(frame)
    families = [f for f in STYLES if f in set(data["family"])]
    colours, shapes = [STYLES[f][0] for f in families], [STYLES[f][1] for f in families]
    legend = alt.Legend(orient="top", title=None, symbolSize=110, symbolOpacity=1, columns=2, labelLimit=0)
    colour = alt.Color("family:N", scale=alt.Scale(domain=families, range=colours), legend=legend)
    shape = alt.Shape("family:N", scale=alt.Scale(domain=families, range=shapes), legend=legend)
    x_range, y_range = _range(data, "leakage", include=0.0), _range(data, "utility")
    axis = alt.Axis(tickCount=8, format=".2f", labelOverlap=True)
    x = alt.X(
        "leakage:Q",
        title="Leakage, membership advantage  (less →)",
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
    others = (
        base.transform_filter("!datum.front").encode(shape, tooltip=tooltip).mark_point(size=100, strokeWidth=2, opacity=0.6)
    )
    points = base.transform_filter("datum.front").encode(shape, tooltip=tooltip).mark_point(filled=True, size=140, opacity=1)
    faint = alt.Opacity("front:N", scale=alt.Scale(domain=[True, False], range=[0.6, 0.3]), legend=None)
    across = base.encode(alt.X("leakage_low:Q"), alt.X2("leakage_high:Q"), faint).mark_rule(strokeWidth=1.5)
    along = base.encode(alt.Y("utility_low:Q"), alt.Y2("utility_high:Q"), faint).mark_rule(strokeWidth=1.5)
    _place_names(data, x_range, y_range, height - 110)
    return alt.layer(across, along, others, points, *_names(data, theme), data=data).properties(height=height)


def _pareto_data(frame: pd.DataFrame) -> pd.DataFrame:
    data = frame.dropna(subset=["utility", "leakage"]).copy()
    data["front"] = (data["rank"] == 1).fillna(False).astype(bool)
    data["place"] = [place(r, t) for r, t in zip(data["rank"], data["tied"], strict=True)]
    data["label"] = data["entry"].map(short)
    for axis in ("utility", "leakage"):
        columns = [data[axis], data[f"{axis}_low"], data[f"{axis}_high"], data[f"{axis}_n"], data[f"{axis}_unit"]]
        texts = [f"{interval(v, lo, hi)}, n = {n} {unit}" for v, lo, hi, n, unit in zip(*columns, strict=True)]
        data[f"{axis}_text"] = pd.Series(texts, index=data.index, dtype=object)
    kept = ["entry", "label", "place", "front", "family", "defense", "leakage_attack", "leakage_contrast"]
    kept += [f"{axis}{end}" for axis in ("utility", "leakage") for end in ("", "_low", "_high", "_text")]
    return data[kept].reset_index(drop=True)


def place(rank: int | None, tied: bool) -> str:
    """``3``, or ``3 =`` where the rank is shared; a dash where there is none."""
    if rank is None or pd.isna(rank):
        return "–"
    return f"{rank} =" if tied else str(rank)


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

    Each name stands above its point or, where that is taken, below or further off.  ``height``: of the plot without legend
    and axis, pixels.
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
        spot = (free or options or [y])[0]
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


def attack_bars(attacks: pd.DataFrame, theme: str = "light") -> alt.LayerChart:
    """AUC of every attack and contrast as bars from chance, with 95 % intervals.

    ``attacks`` is :func:`leaderboard.details.attack_frame`, with at least one AUC.  The attack's name stands above its bars,
    so that long names fit on a phone.
    """
    data = attacks.dropna(subset=["auc"]).copy()
    names = list(dict.fromkeys(data["attack"]))
    contrasts = [c for c in CONTRAST_COLOURS if c in set(data["contrast"])]
    step = len(contrasts) + 1.6  # in bars: one for each contrast, a line for the name, and air
    data["row"] = data["attack"].map(names.index) * step + 1 + data["contrast"].map(contrasts.index)
    data["text"] = [interval(*values) for values in data[["auc", "auc_low", "auc_high"]].to_numpy(float)]
    left = min(0.45, float(np.nanmin(data[["auc", "auc_low"]].to_numpy(float))) - 0.02)
    titles = pd.DataFrame({"attack": names, "row": [i * step - 0.1 for i in range(len(names))], "left": left})
    axis = alt.Axis(tickCount=6, format=".2f", labelOverlap=True)
    x = alt.X("auc:Q", title="AUC  (0.5 = chance, nothing leaks)", axis=axis, scale=alt.Scale(domain=[left, 1.0], nice=False))
    y = alt.Y("row:Q", axis=None, scale=alt.Scale(domain=[-0.9, len(names) * step - 1], reverse=True, nice=False))
    colour = alt.Color(
        "contrast:N",
        scale=alt.Scale(domain=contrasts, range=[CONTRAST_COLOURS[c] for c in contrasts]),
        legend=alt.Legend(orient="top", title=None, labelLimit=0),
    )
    tooltip = [
        alt.Tooltip("attack:N", title="Attack"),
        alt.Tooltip("contrast:N", title="Contrast"),
        alt.Tooltip("text:N", title="AUC"),
        alt.Tooltip("people:Q", title="People"),
    ]
    base = alt.Chart(data).encode(y=y, tooltip=tooltip)
    bars = base.mark_bar(size=11, opacity=0.85, cornerRadiusEnd=2).encode(x=x, x2=alt.datum(0.5), color=colour)
    whiskers = base.mark_rule(strokeWidth=1.5, color=GREY).encode(x="auc_low:Q", x2="auc_high:Q")
    text = alt.Chart(titles).mark_text(align="left", fontSize=12, fontWeight=600, color=INK[theme])
    title = text.encode(x="left:Q", y=y, text="attack:N")
    chance = alt.Chart(pd.DataFrame({"auc": [0.5]})).mark_rule(strokeDash=[4, 3], color=GREY).encode(x="auc:Q")
    return alt.layer(bars, whiskers, chance, title).properties(height=int(17 * step * len(names)) + 120)


def roc(points: pd.DataFrame, highlight: str = "") -> alt.LayerChart:
    """ROC curves on log axes, one an attack.  ``points``: attack, fpr, tpr; zeros cannot be drawn and are left out.

    ``highlight``: the attack that is drawn thicker.
    """
    data = points[(points["fpr"] > 0) & (points["tpr"] > 0)]
    attacks = list(dict.fromkeys(data["attack"]))
    floor = float(min(data["fpr"].min(), data["tpr"].min())) if len(data) else 1e-3
    floor = 10.0 ** np.floor(np.log10(floor))
    scale = alt.Scale(type="log", domain=[floor, 1], nice=False)
    colours = [_LINES[i % len(_LINES)] for i in range(len(attacks))]
    dashes = [_DASHES[i % len(_DASHES)] for i in range(len(attacks))]
    legend = alt.Legend(orient="top", title=None, columns=1, labelLimit=300, symbolType="stroke", symbolSize=300)
    lines = (
        alt.Chart(data)
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("fpr:Q", title="False positive rate", scale=scale, axis=alt.Axis(format=".0e", values=_decades(floor))),
            y=alt.Y("tpr:Q", title="True positive rate", scale=scale, axis=alt.Axis(format=".0e", values=_decades(floor))),
            color=alt.Color("attack:N", scale=alt.Scale(domain=attacks, range=colours), legend=legend),
            strokeDash=alt.StrokeDash("attack:N", scale=alt.Scale(domain=attacks, range=dashes), legend=legend),
            strokeWidth=alt.condition(alt.datum.attack == highlight, alt.value(3), alt.value(1.5)),
            tooltip=["attack:N", alt.Tooltip("fpr:Q", format=".2e"), alt.Tooltip("tpr:Q", format=".3f")],
        )
    )
    diagonal = pd.DataFrame({"fpr": [floor, 1.0], "tpr": [floor, 1.0]})
    chance = alt.Chart(diagonal).mark_line(strokeDash=[4, 3], color=GREY, strokeWidth=1).encode(x="fpr:Q", y="tpr:Q")
    return alt.layer(chance, lines).properties(height=400 + 16 * len(attacks))


def _decades(floor: float) -> list[float]:
    return [10.0**k for k in range(int(np.log10(floor)), 1)]


def pareto_alt(frame: pd.DataFrame) -> str:
    """What the Pareto chart shows, in words, for screen readers."""
    shown = frame.dropna(subset=["utility", "leakage"])
    front = shown[(shown["rank"] == 1).fillna(False).astype(bool)]
    best = "; ".join(f"{r.entry}: utility {r.utility:.3f}, leakage {r.leakage:.3f}" for r in front.itertuples())
    return f"Scatter plot of {len(shown)} entries, utility against membership leakage. Rank 1: {best or 'none'}."
