"""Many made-up records for measuring the pages: varied copies of a real one.  Nothing of them reaches a board by itself."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.interfaces import content_hash
from leaderboard.board.library import RECORDS

IN_A_FILE = 500
CURVE = 12  # ROC points kept of each curve: what is measured does not read them, and the disk is spared
ATTACKS = 8


def write(folder: Path, records: int, seed: int = 0) -> int:
    """Writes ``records`` records of one track, one board and one split (the worst case: one ranking), as lists in files.

    Returns the bytes of a record's JSON.
    """
    template = _template()
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    size = 0
    for start in range(0, records, IN_A_FILE):
        made = [_varied(template, number, rng) for number in range(start, min(start + IN_A_FILE, records))]
        text = json.dumps(made)
        size = max(size, len(text) // len(made))
        (folder / f"crowd-{start // IN_A_FILE:03d}.json").write_text(text)
    return size


def _template() -> dict[str, Any]:
    """The first shipped record, with short curves and at most :data:`ATTACKS` attacks, as plain data."""
    shipped = json.loads(sorted(RECORDS.glob("*.json"))[0].read_bytes())
    record: dict[str, Any] = copy.deepcopy(shipped[0] if isinstance(shipped, list) else shipped)
    record["membership"] = record["membership"][:ATTACKS]
    for attack in record["membership"]:
        for result in attack["contrasts"].values():
            result["roc"] = result["roc"][:: max(1, len(result["roc"]) // CURVE)]
    return record


def _varied(template: Mapping[str, Any], number: int, rng: np.random.Generator) -> dict[str, Any]:
    """A copy under another name, with other settings, weights and headline."""
    record = dict(template)
    card = dict(record["card"], name=f"entry {number}", team=f"team {number % 97}", seed=0)
    card["defenses"] = [{"name": card["defenses"][0]["name"], "settings": {"number": number}}]
    digest = content_hash("crowd", number, length=64)
    record |= {
        "card": card,
        "provenance": dict(record["provenance"], submission_id=digest, weights_sha256=digest),
        "headline": _headline(record["headline"], rng),
    }
    return record


def _headline(headline: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The same headline elsewhere; its replicates keep the noise of the people and get some of their own."""
    utility = rng.uniform(0.05, 0.95)
    leakage = float(np.clip(0.75 * utility + rng.normal(0, 0.15), 0.0, 0.99))  # what recognises well tends to leak
    result = dict(headline)
    for name, value in (("utility", utility), ("leakage", leakage)):
        shift = value - headline[name]["value"]
        ends = {end: headline[name][end] + shift for end in ("low", "high")}
        result[name] = dict(headline[name], value=value, **ends)
        own = rng.normal(0, 0.005, len(headline[f"{name}_replicates"]))
        result[f"{name}_replicates"] = np.round(np.array(headline[f"{name}_replicates"]) + shift + own, 5).tolist()
    return result
