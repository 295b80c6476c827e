"""How entries are printed: the table on the page, and the files to be downloaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import quote

import pandas as pd
import streamlit as st

from benchmark.records.exporting import harmless
from leaderboard.board.frame import COLUMNS, rank_text

Width = Literal["small", "medium", "large"] | int | None


def to_csv(frame: pd.DataFrame) -> str:
    """Every column of :data:`COLUMNS`.  Text that a spreadsheet would run as a formula gets an apostrophe in front."""
    result: str = frame.map(harmless).to_csv(index=False)
    return result


def to_json(frame: pd.DataFrame) -> str:
    """``{"columns": {name: explanation}, "entries": [{name: value}]}``, missing values as null."""
    rows = json.loads(frame.to_json(orient="records", double_precision=15))
    return json.dumps({"columns": COLUMNS, "entries": rows}, indent=1, ensure_ascii=False)


def printed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the columns that only the table has: place, and intervals as text."""
    result = frame.copy()
    # padded with blanks, so that the place sorts as text
    result["place"] = [rank_text(r, t).rjust(4 + 2 * t) for r, t in zip(frame["rank"], frame["tied"], strict=True)]
    # a link whose text is what follows the mark: relative, so that it holds below a proxy's path, too
    pairs = zip(frame["key"], frame["title"], strict=True)
    result["title"] = [f"submission?entry={key}#{quote(title, safe=' ')}" for key, title in pairs]
    result["found"] = ["n.f." if nothing else "" for nothing in frame["nothing_found"]]
    result["created"] = frame["created"].str[:10]
    result["flags"] = ["▲ " + flags if flags else "" for flags in frame["flags"]]
    for name in ("utility_change", "leakage_change", "gain"):
        changes = zip(frame[name], frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
        result[f"{name}_text"] = [_change(*change) for change in changes]
    for axis in ("utility", "leakage"):
        parts = zip(frame[f"{axis}_low"], frame[f"{axis}_high"], frame[f"{axis}_n"], frame[f"{axis}_unit"], strict=True)
        result[f"{axis}_interval"] = [_interval(*part) for part in parts]
    return result


def _interval(low: float, high: float, n: int, unit: str) -> str:
    return "–" if pd.isna(low) or pd.isna(high) else f"[{low:.3f}, {high:.3f}]  n = {n:,} {unit}"


def _change(value: float, low: float, high: float) -> str:
    """``+0.032 [-0.010, +0.071]``; empty where it was not measured."""
    if pd.isna(value):
        return ""
    return f"{value:+.3f}" if pd.isna(low) or pd.isna(high) else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _number(label: str, name: str, format: str = "%.3f", width: Width = None) -> Any:
    return st.column_config.NumberColumn(label, help=COLUMNS[name], format=format, width=width)


def _text(label: str, name: str, width: Width = None, pinned: bool = False) -> Any:
    return st.column_config.TextColumn(label, help=COLUMNS[name], width=width, pinned=pinned)


CONFIG = {
    "place": _text("Rank", "rank", 48, pinned=True),
    "title": st.column_config.LinkColumn("Defence", help=COLUMNS["title"], display_text=r"#(.*)$", width=170, pinned=True),
    "reasons": _text("Why it is not ranked", "reasons", "large"),
    "utility": _number("Utility ↑", "utility", width=76),
    "leakage": _number("Leakage ↓", "leakage", width=80),
    "found": _text("Found", "nothing_found", 60),
    "utility_interval": _text("Utility: 95 % interval, n", "utility_low", 190),
    "gain_text": _text("Gain over public faces only ↑", "gain", 190),
    "utility_change_text": _text("Utility against undefended", "utility_change", 190),
    "leakage_change_text": _text("Leakage against undefended", "leakage_change", 190),
    "leakage_interval": _text("Leakage: 95 % interval, n", "leakage_low", 190),
    "leakage_attack": _text("by attack", "leakage_attack", 150),
    "leakage_contrast": _text("on contrast", "leakage_contrast", 90),
    "family": _text("Family", "family", 120),
    "flags": _text("Red flags", "flags", "medium"),
    "sample_auc": _number("Sample AUC ↓", "sample_auc"),
    "identity_auc": _number("Identity AUC ↓", "identity_auc"),
    "tpr_at_01": _number("TPR@0.1 % ↓", "tpr_at_01"),
    "exposed": _number("Most exposed 1 % ↓", "exposed"),
    "tpr_at_1": _number("TPR@1 % ↓", "tpr_at_1"),
    "inversion": _number("Inversion ↓", "inversion"),
    "epsilon": _number("Claimed ε ↓", "epsilon", "%.3g"),
    "entry": _text("Entry", "entry", 190),
    "defense": _text("Settings", "defense", "medium"),
    "team": _text("Team", "team", 110),
    "board": _text("Board", "board", 80),
    "targets": _number("Backbones", "targets", "%d"),
    "seeds": _number("Seeds", "seeds", "%d"),
    "training_seconds": _number("Training, s", "training_seconds", "%.0f"),
    "backbone": _text("Backbone", "backbone", 120),
    "created": _text("Evaluated", "created", 100),
    "key": _text("Link name", "key", 100),
}
LABELS = {name: config["label"] for name, config in CONFIG.items()}
FIXED = ("place", "title", "reasons")
OPTIONAL = tuple(name for name in CONFIG if name not in FIXED)
_NARROW = {
    "place": _text("#", "rank", 40),
    "title": st.column_config.LinkColumn("Defence", help=COLUMNS["title"], display_text=r"#(.*)$", width=150),
    "utility": _number("Utility ↑", "utility", width=76),
    "leakage": _number("Leakage ↓", "leakage", width=84),
}
_MAY_BE_EMPTY = ("gain", "utility_change", "leakage_change", "tpr_at_01", "exposed", "inversion", "epsilon", "targets")
_HIDDEN = ("board", "backbone", "created", "key", "tpr_at_1", "seeds")
DEFAULT = tuple(name for name in OPTIONAL if name not in _HIDDEN)


def compact(names: Sequence[str]) -> dict[str, Any]:
    """Those of the columns that fit on a phone without scrolling sideways, with their narrow settings."""
    return {name: _NARROW[name] for name in names if name in _NARROW}


def _empty(frame: pd.DataFrame, name: str) -> bool:
    """Whether a difference or a rate was measured of none of the entries."""
    column = name.removesuffix("_text")
    return column in _MAY_BE_EMPTY and bool(frame[column].isna().all())


def columns(frame: pd.DataFrame, chosen: Sequence[str]) -> list[str]:
    """The columns of a table of ranked or of unranked entries, in the order of :data:`CONFIG`; flags where there are any."""
    first = ["place", "title"] if frame["rank"].notna().all() else ["title", "reasons"]
    rest = [name for name in OPTIONAL if name in chosen and not _empty(frame, name)]
    if "flags" in rest:
        rest.remove("flags")
        first += ["flags"] if (frame["flags"] != "").any() else []
    return first + rest
