"""Records -> one row an entry, cached until the store or a record file changes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.home import home
from benchmark.interfaces import Contrast
from benchmark.record import Record
from benchmark.store import Store
from leaderboard.details import attack_metric, strongest
from leaderboard.ranking import RankedEntry, rank

RECORDS = Path(__file__).parent / "records"
SMOKE = "smoke run: too small to conclude from"

FAMILIES = {
    "none": "No defence",
    "bn_statistics": "BN statistics",
    "dp": "Differential privacy",
    "training": "Training",
    "architecture": "Architecture",
    "embedding": "Embedding",
    "combined": "Combined",
    "other": "Other",
}

COLUMNS = {
    "key": "Stable name of the entry, used in links.",
    "rank": "Layer of entries that no other significantly dominates. Entries of one layer are tied.",
    "tied": "True where other entries share the rank.",
    "entry": "Name that the submitter gave; one row is one configuration over all its seeds.",
    "defense": "Defences with their settings, in the order in which they were composed.",
    "family": "What kind of defence it is.",
    "team": "Who submitted it.",
    "board": "verified: re-trained by the evaluator. weights: trained elsewhere, nobody can prove on what.",
    "utility": "TAR@FAR=1e-3 on verification people, mean over seeds. Higher is better.",
    "utility_low": "Lower end of the 95 % interval of utility (bootstrap over people and seeds).",
    "utility_high": "Upper end of the 95 % interval of utility.",
    "utility_n": "How many were counted for utility, in the unit of utility_unit.",
    "utility_unit": "Unit of utility_n.",
    "leakage": "Membership advantage (TPR - FPR) of the strongest attack: 0 = nothing leaks, 1 = everything. Lower is better.",
    "leakage_low": "Lower end of the 95 % interval of leakage (bootstrap over people and seeds).",
    "leakage_high": "Upper end of the 95 % interval of leakage.",
    "leakage_n": "How many were counted for leakage, in the unit of leakage_unit.",
    "leakage_unit": "Unit of leakage_n.",
    "leakage_attack": "The attack that gave the leakage. Chosen on one half of the people, reported on the other.",
    "leakage_contrast": "What it told apart. sample: trained photos from other photos of the same people. "
    "identity: people trained on from others.",
    "sample_auc": "AUC of the strongest headless attack, trained photos against other photos of the same people. 0.5 = chance.",
    "sample_auc_low": "Lower end of its 95 % interval; with several seeds the lowest of theirs.",
    "sample_auc_high": "Upper end of its 95 % interval; with several seeds the highest of theirs.",
    "sample_attack": "The attack that reached sample_auc.",
    "identity_auc": "AUC of the strongest headless attack, other photos of people trained on against people never trained on.",
    "identity_auc_low": "Lower end of its 95 % interval; with several seeds the lowest of theirs.",
    "identity_auc_high": "Upper end of its 95 % interval; with several seeds the highest of theirs.",
    "identity_attack": "The attack that reached identity_auc.",
    "tpr_at_1": "TPR@FPR=1 % of the attack that gave the leakage. Empty: too few photos to measure it.",
    "epsilon": "Claimed epsilon of differential privacy, as the submitter states it. Lower is stronger.",
    "epsilon_of": "What the claim covers: delta, protected unit, and whether the model or its BN statistics alone.",
    "flags": "What to know before trusting the entry.",
    "seeds": "Training seeds that the entry is a mean over.",
    "training_seconds": "Seconds of training, mean over seeds, as the trainer wrote them in the card.",
    "backbone": "Architecture, a timm model name.",
    "complete": "Every attack of the track and of the defence was run.",
    "smoke": "From a smoke run, too small to conclude from.",
    "reasons": "Why the entry is not ranked. Empty: it is.",
    "dominated_by": "Entries that significantly dominate this one.",
    "created": "When the newest of its records was made, UTC.",
    "track": "Track: data, split, backbone and budget, frozen.",
    "protocol_version": "Entries of different protocol versions never share a ranking.",
    "data_digest": "Hash of the data.",
    "split_digest": "Hash of who plays which role.",
    "configuration": "Hash of what was trained, without its seed.",
}


@dataclass(frozen=True)
class Board:
    """Everything the pages read.  ``frame`` has the columns of :data:`COLUMNS`, one row an entry, in ranking order."""

    frame: pd.DataFrame
    entries: dict[str, RankedEntry]  # by key
    problems: tuple[str, ...] = ()  # record files that could not be read


def load(url: str | None = None, folder: Path | None = None) -> Board:
    """The board of a store and of a folder of ``*.json`` files (one record, or a list of them, each).

    ``url``: path or URL of the store; default the environment's FACEVEIL_STORE, else the home's.  ``folder``: default the
    environment's FACEVEIL_RECORDS, else the records that ship with the project.  Where nothing has changed it costs
    one query, of the store's version.

    Raises:
        StoreError: the store cannot be opened or read.
    """
    folder = folder or Path(os.environ.get("FACEVEIL_RECORDS") or RECORDS)
    store = _store(url or os.environ.get("FACEVEIL_STORE") or str(home() / "store.sqlite"))
    files = tuple((path, path.stat().st_mtime_ns) for path in sorted(folder.glob("*.json")))
    with _LOCK:
        return _load(store, store.version(), files)


_LOCK = threading.Lock()  # the first reader builds, the others wait instead of building too


@lru_cache(maxsize=8)
def _store(url: str) -> Store:
    return Store(url)


@lru_cache(maxsize=2)
def _load(store: Store, version: int, files: tuple[tuple[Path, int], ...]) -> Board:  # noqa: ARG001 (part of the cache's key)
    records, problems = store.records(), []
    for path, _ in files:
        try:
            content = json.loads(path.read_bytes())
            records += [Record.model_validate(item) for item in (content if isinstance(content, list) else [content])]
        except (OSError, ValueError) as error:  # pydantic's ValidationError is a ValueError
            problems.append(f"{path.name}: {str(error).splitlines()[0]}")
    return build(records, tuple(problems))


def build(records: Iterable[Record], problems: tuple[str, ...] = ()) -> Board:
    """The board of some records."""
    entries = rank(records)
    frame = pd.DataFrame([_row(entry) for entry in entries], columns=list(COLUMNS))
    frame["rank"] = frame["rank"].astype("Int64")
    return Board(frame, {entry.key: entry for entry in entries}, problems)


def _row(entry: RankedEntry) -> dict[str, Any]:
    first, scope = entry.records[0], entry.scope
    headline = next((r.headline for r in entry.records if r.headline), None)
    claim = first.card.claim
    row: dict[str, Any] = {
        "key": entry.key,
        "rank": entry.rank,
        "tied": entry.tied,
        "entry": entry.label,
        "defense": first.card.defense_label,
        "family": FAMILIES[family(first)],
        "team": first.card.team,
        "leakage_attack": headline.leakage_attack if headline else "",
        "leakage_contrast": str(headline.leakage_contrast) if headline else "",
        "tpr_at_1": _tpr(entry.records),
        "epsilon": claim.epsilon if claim else None,
        "epsilon_of": f"delta={claim.delta:g}, per {claim.unit}, {claim.covers.replace('_', ' ')}" if claim else "",
        "flags": "; ".join(_flags(entry)),
        "seeds": len({r.card.seed for r in entry.records}),
        "training_seconds": _mean([r.card.training.get("seconds") for r in entry.records]),
        "backbone": first.card.backbone.name,
        "complete": all(r.complete for r in entry.records),
        "smoke": is_smoke(entry),
        "reasons": "; ".join(entry.reasons),
        "dominated_by": ", ".join(entry.dominated_by),
        "created": max(r.provenance.created for r in entry.records),
        "configuration": entry.configuration,
        **scope.__dict__,
    }
    for name, axis in (("utility", entry.utility), ("leakage", entry.leakage)):
        row |= {name: axis.value, f"{name}_low": axis.low, f"{name}_high": axis.high}
        row |= {f"{name}_n": axis.n, f"{name}_unit": axis.unit}
    for contrast in (Contrast.SAMPLE, Contrast.IDENTITY):
        best = strongest(entry.records, contrast)
        row |= {f"{contrast}_attack": best.attack, f"{contrast}_auc": best.auc}
        row |= {f"{contrast}_auc_low": best.low, f"{contrast}_auc_high": best.high}
    return row


def family(record: Record) -> str:
    """The family of its defences, a key of :data:`FAMILIES`; undefended parts of a composition do not count."""
    names = {record.defenses[d.name].family if d.name in record.defenses else "other" for d in record.card.defenses}
    named = (names - {"none"}) or {"none"}
    only = named.pop() if len(named) == 1 else "combined"
    return only if only in FAMILIES else "other"


def is_smoke(entry: RankedEntry) -> bool:
    """True where any of its runs was a smoke run."""
    return any(bool(r.extra.get("smoke")) for r in entry.records)


def _flags(entry: RankedEntry) -> list[str]:
    texts = [SMOKE] if is_smoke(entry) else []
    texts += [f"{flag.name} ({flag.severity}): {flag.reason}" for record in entry.records for flag in record.flags]
    return list(dict.fromkeys([*texts, *entry.left_out]))


def _tpr(records: Sequence[Record]) -> float | None:
    headlines = [(r, r.headline) for r in records if r.headline]
    metrics = [attack_metric(r, h.leakage_attack, h.leakage_contrast, "tpr@fpr=1e-2") for r, h in headlines]
    return _mean([m.value if m else None for m in metrics])


def _mean(values: Sequence[Any]) -> float | None:
    """Mean, or None where one is missing."""
    if not values or any(not isinstance(v, int | float) for v in values):
        return None
    return sum(values) / len(values)
