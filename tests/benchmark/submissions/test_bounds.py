"""Bounds on what nobody vouches for, and cards that break them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from card_factory import make_card
from pydantic import ValidationError

from benchmark.submissions.bounds import MAX_DEPTH, MAX_INTEGER, MAX_VALUES, check_bounds
from benchmark.submissions.card_parser import parse_card
from benchmark.submissions.problems import CardError


def nested(depth: int) -> Any:
    """Lists in lists, so many levels deep."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("data", [MAX_INTEGER, -MAX_INTEGER, 1e308, "x" * 4000, nested(MAX_DEPTH), {"a": [1, None, True]}])
def test_what_can_be_kept_is_accepted(data: Any) -> None:
    check_bounds(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"seconds": 10**400}, "'seconds' is a whole number of 1329 bits"),
        ({"a": {"b": float("inf")}}, "'a.b' is not a finite number"),
        ([float("nan")], "it is not a finite number"),
        (nested(MAX_DEPTH + 1), "nested more than 16 levels"),
        (nested(100_000), "nested more than 16 levels"),  # no recursion
        ([0] * MAX_VALUES, "more than 4096 values"),
        ({"k" * 5000: 1}, "a name of more than 4000 characters"),
        ({"k": "v" * 5000}, "'k' has 5000 characters"),
    ],
)
def test_what_cannot_is_refused_by_its_place(data: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_bounds(data)


HOSTILE: dict[str, dict[str, Any]] = {
    "seconds": {"training": {"seconds": 10**400}},
    "depth": {"training": {"a": nested(198)}},
    "depth of settings": {"defenses": [{"name": "undefended", "settings": {"a": nested(17)}}]},
    "count": {"training": {str(n): n for n in range(5000)}},
    "seed": {"seed": 2**63},
    "negative seed": {"seed": -1},
    "size": {"embedding_size": 10**30},
    "defence's name": {"defenses": [{"name": "d" * 200_000, "settings": {}}]},
    "setting": {"defenses": [{"name": "undefended", "settings": {"x": "y" * 1000}}]},
    "bidi in a setting": {"defenses": [{"name": "undefended", "settings": {"x": "a\u202eb"}}]},
    "blank name": {"name": "\u3164"},
    "name of marks": {"name": "\u0301\u0301"},
    "towering name": {"name": "a" + "\u0301" * 20},
    "name of signs": {"name": "--"},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_card_out_of_bounds_is_refused_by_name(case: str) -> None:
    values = json.loads(make_card().model_dump_json()) | HOSTILE[case]
    with pytest.raises(CardError) as refused:
        parse_card(json.dumps(values).encode())
    assert len(str(refused.value)) < 1000
    with pytest.raises((ValidationError, ValueError)):
        make_card(**HOSTILE[case])


@pytest.mark.parametrize("name", ["tiny", "Zürich 2", "名前", "Đặng Thị", "ναι-1"])
def test_names_of_all_scripts_are_taken(name: str) -> None:
    assert make_card(name=name).name == name


def test_a_byte_order_mark_is_no_fault_and_utf16_is_named() -> None:
    text = make_card().model_dump_json()
    assert parse_card(b"\xef\xbb\xbf" + text.encode()).name == "tiny"
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        with pytest.raises(CardError, match="save it as UTF-8"):
            parse_card(text.encode(encoding))
