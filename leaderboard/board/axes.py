"""What leakage can be read as: the axis of the ranking, and others beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark.records.dominance import AxisValues, dominance


@dataclass(frozen=True)
class LeakageAxis:
    """A column of the board's frame that says how much leaks; lower is better.

    ``least``: the value at which nothing leaks.  ``ranked``: the board's ranks are made on it.
    ``unranked``: the column that says why a value is shown on the board and is not compared with others.
    """

    title: str
    column: str
    attack: str  # the column that names the attack
    contrast: str  # on which contrast; empty: a column of its own says
    least: float
    ranked: bool = False
    unranked: str = ""


AXES = {
    "Membership": LeakageAxis("membership advantage", "leakage", "leakage_attack", "", 0.0, ranked=True),
    "TPR@1 %": LeakageAxis("TPR@FPR=1 % of the strongest attack", "tpr_at_1", "leakage_attack", "", 0.01),
    "Sample AUC": LeakageAxis("AUC, seen against unseen photos", "sample_auc", "sample_attack", "sample", 0.5),
    "Identity AUC": LeakageAxis("AUC, members against others", "identity_auc", "identity_attack", "identity", 0.5),
    "Inversion": LeakageAxis(
        "training identities recovered, over held-out", "inversion", "inversion_attack", "", 0.0, unranked="inversion_unranked"
    ),
}


def measured(frame: pd.DataFrame) -> list[str]:
    """The axes that any entry has a value on."""
    return [name for name, axis in AXES.items() if axis.column in frame and _compared(frame, axis)[axis.column].notna().any()]


def _compared(frame: pd.DataFrame, axis: LeakageAxis) -> pd.DataFrame:
    """The columns of an axis, without the values that are not compared with others."""
    ends = frame[[axis.column, f"{axis.column}_low", f"{axis.column}_high"]].astype(float)
    return ends.mask(frame[axis.unranked].notna()) if axis.unranked else ends


def on_axis(frame: pd.DataFrame, axis: LeakageAxis) -> pd.DataFrame:
    """The frame with the axis in place of its leakage columns, and with ranks made on it.

    Off the ranking's own axis there are no paired replicates: significant is where intervals do not overlap.  Entries that
    the board does not rank have none here either.
    """
    if axis.ranked:
        return frame
    ends = dict(zip(("leakage", "leakage_low", "leakage_high"), _compared(frame, axis).to_numpy(float).T, strict=True))
    contrast = {"leakage_contrast": axis.contrast} if axis.contrast else {}
    result = frame.assign(**ends, leakage_attack=frame[axis.attack], **contrast)
    ranked = frame["rank"].notna() & result["utility"].notna() & result["leakage"].notna()
    places = pd.array([pd.NA] * len(frame), dtype="Int64")
    places[ranked.to_numpy()] = dominance(_scores(result[ranked], "utility"), _scores(result[ranked], "leakage", -1)).layers
    shared = pd.Series(places, index=frame.index)
    return result.assign(rank=shared, tied=(shared.map(shared.value_counts()) > 1).fillna(False).astype(bool))


def _scores(frame: pd.DataFrame, name: str, sign: int = 1) -> AxisValues:
    rows = frame[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
    return AxisValues.of([_Ends(*row) for row in rows], sign=sign)


@dataclass(frozen=True)
class _Ends:
    value: float
    low: float
    high: float


def at_utility(frame: pd.DataFrame, utility: float) -> pd.DataFrame:
    """What each defence leaks where it recognises at least this well: one row a defence, the least leaking first.

    Of each defence that entry counts which leaks least among those of at least ``utility`` by point estimate; nothing is
    interpolated.  Where none reaches it, ``reached`` is False and the row is the entry of the highest utility.
    """
    rows = []
    for _, group in frame.dropna(subset=["utility", "leakage"]).groupby("defense_name", sort=True):
        reaching = group[group["utility"] >= utility]
        reached = len(reaching) > 0
        best = reaching.loc[reaching["leakage"].idxmin()] if reached else group.loc[group["utility"].idxmax()]
        rows.append({**best.to_dict(), "reached": reached, "settings_tried": len(group)})
    table = pd.DataFrame(rows, columns=[*frame.columns, "reached", "settings_tried"])
    return table.sort_values(["reached", "leakage"], ascending=[False, True], kind="stable").reset_index(drop=True)


def utility_range(frame: pd.DataFrame) -> tuple[float, float]:
    """The lowest and highest utility, to the hundredth."""
    values = frame["utility"].dropna().to_numpy(float)
    if not len(values):
        return 0.0, 1.0
    return float(np.floor(values.min() * 100) / 100), float(np.ceil(values.max() * 100) / 100)
