"""What a record holds beyond its standard parts (attribution, inversion, audit, ...), as tables.

Such parts come and go with the protocol, so they are shown by their shape: a number with its interval is a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import BaseModel

from benchmark.record import Record
from leaderboard.details import interval

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


def table(value: Any) -> pd.DataFrame:
    """One row a number or text: what it is, its value with the interval, n and a note."""
    rows = list(_rows(value, ()))
    frame = pd.DataFrame(rows, columns=["what", "value", "n", "note"])
    return frame.loc[:, [c for c in frame if c in ("what", "value") or (frame[c] != "").any()]]


def _rows(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str, str, str]]:
    name = " · ".join(path)
    if isinstance(value, Mapping) and "value" in value and ("n" in value or "low" in value):
        yield _metric(name, value)
    elif isinstance(value, Mapping) and len(path) < _DEPTH:
        for key, item in value.items():
            yield from _rows(item, (*path, str(key).replace("_", " ")))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping) and len(path) < _DEPTH:
        for i, item in enumerate(value):
            yield from _rows(item, (*path, _title(item, i)))
    elif isinstance(value, list) and len(value) > 12:
        yield name, f"{len(value)} values", "", ""
    elif value is not None and value != "":
        yield name, _text(value), "", ""


def _metric(name: str, value: Mapping[str, Any]) -> tuple[str, str, str, str]:
    number = value["value"]
    if number is None:
        text = str(value.get("note") or "not measurable")
    elif isinstance(number, int | float):
        text = interval(number, value.get("low"), value.get("high"))
    else:
        text = str(number)
    n = f"{value['n']} {value.get('unit', '')}".strip() if value.get("n") is not None else ""
    return name, text, n, str(value.get("note") or "") if number is not None else ""


def _title(item: Mapping[str, Any], number: int) -> str:
    for key in ("label", "name", "attack"):
        if isinstance(item.get(key), str):
            return str(item[key])
    return str(number + 1)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
