"""What a record holds beyond its standard parts (attribution, inversion, audit, ...), as tables.

Such parts come and go with the protocol, so they are shown by their shape: a number with its interval is a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import BaseModel

from benchmark.interfaces import PluginSpec
from benchmark.records.record import Record
from benchmark.records.results import interval_text

_STANDARD = {
    "schema_version", "protocol_version", "track", "board", "card", "utility", "membership", "gate", "headline", "complete",
    "unranked", "flags", "attacks", "defenses", "provenance", "extra",
}  # fmt: skip
_DEPTH = 6


def sections(record: Record) -> dict[str, Any]:
    """Title -> plain data of every part that is not a standard one and not empty."""
    found: dict[str, Any] = {}
    for name in type(record).model_fields:
        if name not in _STANDARD:
            found[name] = _plain(getattr(record, name))
    found |= {name: _plain(value) for name, value in record.extra.items() if name != "smoke"}
    return {name.replace("_", " ").capitalize(): value for name, value in found.items() if value not in (None, {}, [], (), "")}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value


def tables(value: Any) -> dict[str, pd.DataFrame]:
    """A part as tables by title: its numbers and texts a row each under ``""``, and each list of alike things a table."""
    found: dict[str, pd.DataFrame] = {}
    facts = list(_rows(value, (), found))
    if facts:
        frame = pd.DataFrame(facts, columns=["what", "value", "n", "note"])
        kept = [c for c in frame if c in ("what", "value") or (frame[c] != "").any()]
        found = {"": frame[kept], **found}
    return found


def _rows(value: Any, path: tuple[str, ...], lists: dict[str, pd.DataFrame]) -> Iterator[tuple[str, str, str, str]]:
    """What is one number or text, as rows; lists of mappings go to ``lists``."""
    name = " · ".join(path)
    if _is_metric(value):
        yield _metric(name, value)
    elif isinstance(value, Mapping) and len(path) < _DEPTH:
        for key, item in value.items():
            yield from _rows(item, (*path, str(key).replace("_", " ")), lists)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        lists[name.capitalize()] = _grid(value)
    elif isinstance(value, list) and len(value) > 12:
        yield name, f"{len(value)} values", "", ""
    elif isinstance(value, list) and value and isinstance(value[0], str):
        yield from ((name, text, "", "") for text in value)
    elif value not in (None, "", [], {}):
        yield name, _text(value), "", ""


def _grid(items: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Alike things as rows; numbers with their intervals as text, columns without anything left out."""
    frame = pd.DataFrame([_cells(item) for item in items]).fillna("")
    return frame.loc[:, [column for column in frame if (frame[column] != "").any()]]


def _cells(item: Mapping[str, Any], before: str = "") -> dict[str, str]:
    cells: dict[str, str] = {}
    for key, value in item.items():
        name = f"{before}{key}".replace("_", " ")
        if _is_metric(value):
            _, text, n, _ = _metric(name, value)
            cells[name] = f"{text}, n = {n}" if n and value["value"] is not None else text
        elif key == "spec" and isinstance(value, Mapping):
            cells["attack"] = PluginSpec.model_validate(value).label
        elif isinstance(value, Mapping):
            cells |= _cells(value, "" if key == "metrics" else f"{name} · ")
        elif isinstance(value, list) and (len(value) > 12 or (value and isinstance(value[0], Mapping))):
            cells[name] = f"{len(value)} values"
        elif value not in (None, "", [], {}):
            cells[name] = _text(value)
    return cells


def _is_metric(value: Any) -> bool:
    return isinstance(value, Mapping) and "value" in value and ("n" in value or "low" in value)


def _metric(name: str, value: Mapping[str, Any]) -> tuple[str, str, str, str]:
    number = value["value"]
    if number is None:
        text = str(value.get("note") or "not measurable")
    elif isinstance(number, int | float):
        text = interval_text(number, value.get("low"), value.get("high"))
    else:
        text = str(number)
    n = f"{value['n']} {value.get('unit', '')}".strip() if value.get("n") is not None else ""
    return name, text, n, str(value.get("note") or "") if number is not None else ""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
