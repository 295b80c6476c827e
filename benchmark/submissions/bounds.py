"""Bounds on data that nobody vouches for: whatever is kept can be read again, counted and shown, everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 16  # of a card; readers of JSON give up somewhere between 100 and 1000
MAX_VALUES = 4096  # lists, mappings and what they hold, together
MAX_TEXT = 4000  # characters of one text
MAX_INTEGER = 2**63 - 1  # what databases and tables hold; a float of it is finite


def check_bounds(data: Any, depth: int = MAX_DEPTH, values: int = MAX_VALUES, text: int = MAX_TEXT) -> None:
    """Accepts JSON data (tuples count as lists) within bounds; walks it without recursion.

    Raises:
        ValueError: names the first place that is too deep, too large, or a number that is not finite or has too many digits.
    """
    waiting: list[tuple[str, Any, int]] = [("", data, 0)]
    seen = 0
    while waiting:
        where, value, level = waiting.pop()
        seen += 1
        if seen > values:
            raise ValueError(f"more than {values} values in all")
        if isinstance(value, str):
            if len(value) > text:
                raise ValueError(f"{_place(where)} has {len(value)} characters (allowed: {text})")
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"{_place(where)} is not a finite number")
        elif isinstance(value, int):
            if not -MAX_INTEGER <= value <= MAX_INTEGER:
                raise ValueError(f"{_place(where)} is a whole number of {value.bit_length()} bits (allowed: 63)")
        elif isinstance(value, Mapping | list | tuple):
            if level >= depth:
                raise ValueError(f"{_place(where)} is nested more than {depth} levels deep")
            waiting.extend(_inside(where, value, level + 1, text))


def _inside(where: str, value: Any, level: int, text: int) -> list[tuple[str, Any, int]]:
    if not isinstance(value, Mapping):
        return [(where, item, level) for item in value]
    if any(len(str(key)) > text for key in value):
        raise ValueError(f"{_place(where)} has a name of more than {text} characters")
    return [(f"{where}.{key}" if where else str(key), item, level) for key, item in value.items()]


def _place(where: str) -> str:
    return ascii(where[:120]) if where else "it"
