"""Two to four entries side by side: their differences with intervals, their attacks, their settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from benchmark.interfaces import Contrast
from benchmark.records.dominance import TAIL
from benchmark.records.ranking import RankedEntry, entry_replicates
from benchmark.records.record import Record
from benchmark.records.results import interval_text
from leaderboard.tables.details import CURVE, curve


def names(entries: Sequence[RankedEntry]) -> list[str]:
    """The entries' names, made different from each other where they are not: A, B, C, D in front."""
    return [f"{letter}: {entry.label}" for letter, entry in zip("ABCD", entries, strict=False)]


def differences(entries: Sequence[RankedEntry]) -> pd.DataFrame:
    """Every pair's difference in utility and leakage with its 95 % interval, paired over people and seeds."""
    rows = []
    replicates = [entry_replicates(entry) for entry in entries]
    letters = "ABCD"
    for i, j in combinations(range(len(entries)), 2):
        row: dict[str, Any] = {"pair": f"{letters[i]} − {letters[j]}"}
        for k, axis in enumerate(("utility", "leakage")):
            row[axis] = _difference(
                getattr(entries[i], axis).value, getattr(entries[j], axis).value, replicates[i][k], replicates[j][k]
            )
        rows.append(row)
    return pd.DataFrame(rows, columns=["pair", "utility", "leakage"])


def _difference(one: float | None, other: float | None, mine: np.ndarray, theirs: np.ndarray) -> str:
    if one is None or other is None:
        return "–"
    size = min(len(mine), len(theirs))
    if not size:
        return f"{one - other:+.3f}, no paired interval"
    low, high = np.quantile(mine[:size] - theirs[:size], [TAIL, 1 - TAIL])
    verdict = "significant" if low > 0 or high < 0 else "within the noise"
    return f"{one - other:+.3f} [{low:+.3f}, {high:+.3f}], {verdict}"


def attack_dots(records: Mapping[str, Record], contrast: Contrast) -> pd.DataFrame:
    """AUC of every attack on a contrast, a row an entry and attack: label, group, value, low, high, text."""
    rows = []
    for name, record in records.items():
        for attack in record.membership:
            result = attack.contrasts.get(contrast)
            metric = result.metrics.get("auc") if result else None
            if metric is None or metric.value is None:
                continue
            ends = (metric.value, metric.low, metric.high)
            rows.append((attack.label, name, *ends, f"{interval_text(*ends)}, n = {metric.n} {metric.unit}"))
    frame = pd.DataFrame(rows, columns=["label", "group", "value", "low", "high", "text"])
    order = frame.groupby("label")["value"].max().sort_values(ascending=False).index
    return frame.set_index("label").loc[order].reset_index() if len(frame) else frame


def curves(records: Mapping[str, Record], contrast: Contrast, attack: str = "") -> pd.DataFrame:
    """ROC points of one attack, or where none is named of each entry's strongest by AUC: entry, attack, and :data:`CURVE`."""
    rows = []
    for name, record in records.items():
        named = (a for a in record.membership if a.label == attack and contrast in a.contrasts)
        chosen = next(named, None) if attack else record.strongest(contrast)
        if chosen is not None:
            rows += curve(chosen.contrasts[contrast], entry=name, attack=chosen.label)
    return pd.DataFrame(rows, columns=["entry", "attack", *CURVE])


def settings(records: Mapping[str, Record]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cards and provenance side by side: what differs, and what is the same."""
    flat = {name: _flat(_facts(record)) for name, record in records.items()}
    rows = {
        key: [values.get(key, "–") for values in flat.values()] for key in dict.fromkeys(k for v in flat.values() for k in v)
    }
    frame = pd.DataFrame([[key, *values] for key, values in rows.items()], columns=["setting", *flat])
    differs = [len(set(values)) > 1 for values in rows.values()]
    same = frame[~np.array(differs, bool)]
    return frame[differs].reset_index(drop=True), same.reset_index(drop=True)


def _facts(record: Record) -> dict[str, Any]:
    card = record.card.model_dump(mode="json", exclude={"card_version", "notes", "links"})
    defenses = {f"defence.{d['name']}": d["settings"] or "used" for d in card.pop("defenses")}
    origin = record.provenance
    return {
        **defenses,
        **card,
        "board": record.board,
        "protocol": record.protocol_version,
        "device": origin.device,
        "evaluation seconds": round(origin.seconds, 1),
        "versions": dict(origin.versions),
    }


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested settings as dotted names and texts."""
    found: dict[str, str] = {}
    for key, value in values.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{name}.")
        else:
            found[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found
