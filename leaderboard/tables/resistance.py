"""Attacks against entries: who resists what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmark.interfaces import Contrast
from benchmark.records.ranking import RankedEntry
from benchmark.records.results import interval_text
from benchmark.records.runs import CONTRASTS, FAMILIES, HIGH, LOW, VALUE

CHANCE = 0.5


def tries(entries: Sequence[RankedEntry]) -> pd.DataFrame:
    """One row an entry and attack that was put to it (of its first run), with the AUC on each contrast.

    Columns: key, entry, family, attack, name, access, knowledge, adaptive, status, and ``<contrast>``,
    ``<contrast>_low``, ``<contrast>_high`` for each contrast; NaN where there is no value.
    """
    heads, values, names = [], [], distinct(entries)
    for entry in entries:
        run = entry.runs[0]
        for attack in run.attacks:
            who = (entry.key, names[entry.key], FAMILIES[run.family])
            heads.append((*who, attack.label, attack.name, attack.access, attack.knowledge, attack.adaptive, attack.status))
        values.append(run.auc)
    columns = ["key", "entry", "family", "attack", "name", "access", "knowledge", "adaptive", "status"]
    frame = pd.DataFrame(heads, columns=columns)
    auc = np.concatenate(values) if values else np.zeros((0, len(CONTRASTS), 3))
    for i, contrast in enumerate(CONTRASTS):
        for end, part in ((VALUE, ""), (LOW, "_low"), (HIGH, "_high")):
            frame[f"{contrast}{part}"] = auc[:, i, end]
    return frame


def distinct(entries: Sequence[RankedEntry]) -> dict[str, str]:
    """The name of each entry by key: that which people use, with the entry's own where several share it."""
    titles = {entry.key: entry.runs[0].title for entry in entries}
    often = Counter(titles.values())
    return {e.key: t if often[t] == 1 else f"{t} ({e.label})" for e, t in zip(entries, titles.values(), strict=True)}


def resisted(frame: pd.DataFrame, contrast: Contrast) -> pd.Series:
    """Whether the attack's interval reaches down to chance: it did not beat guessing significantly."""
    return frame[f"{contrast}_low"].fillna(frame[str(contrast)]) <= CHANCE


def overview(frame: pd.DataFrame, contrast: Contrast) -> pd.DataFrame:
    """One row an attack, the strongest (by median AUC) first."""
    rows = []
    for label, group in frame.groupby("attack", sort=False):
        measured = group.dropna(subset=[str(contrast)])
        first = group.iloc[0]
        rows.append(
            {
                "attack": label,
                "access": first["access"],
                "knowledge": first["knowledge"],
                "put to": len(group),
                "measured": len(measured),
                "resisted by": int(resisted(measured, contrast).sum()),
                "median AUC": measured[str(contrast)].median(),
                "highest AUC": measured[str(contrast)].max(),
                "adaptive": "yes" if group["adaptive"].any() else "",
            }
        )
    names = ["attack", "access", "knowledge", "put to", "measured", "resisted by", "median AUC", "highest AUC", "adaptive"]
    return pd.DataFrame(rows, columns=names).sort_values("median AUC", ascending=False, na_position="last", kind="stable")


def entries_of(frame: pd.DataFrame, attack: str, contrast: Contrast) -> pd.DataFrame:
    """The entries under one attack as rows of a dot plot, the most resistant first; ``resists`` says whether it does."""
    data = frame[frame["attack"] == attack].dropna(subset=[str(contrast)]).sort_values(str(contrast), kind="stable")
    names = {"entry": "label", "family": "group", str(contrast): "value"}
    names |= {f"{contrast}_low": "low", f"{contrast}_high": "high"}
    table = data.rename(columns=names)[["key", *names.values()]].reset_index(drop=True)
    table["text"] = [interval_text(*values) for values in table[["value", "low", "high"]].to_numpy(float)]
    table["resists"] = resisted(data, contrast).to_numpy()
    return table
