from __future__ import annotations

from record_factory import make_record

from leaderboard.tables import extras

METRIC = {"value": 0.31, "low": 0.2, "high": 0.4, "n": 50, "unit": "people", "note": "one target"}


def test_a_record_without_more_has_no_more_sections():
    assert extras.sections(make_record(extra={"smoke": True})) == {}


def test_what_a_record_holds_beyond_the_standard_is_a_section_each():
    found = extras.sections(make_record(extra={"attribution": {"refit": METRIC}, "audit_bound": {"epsilon": 2.0}, "empty": {}}))
    assert list(found) == ["Attribution", "Audit bound"]


def test_numbers_carry_their_interval_and_n():
    (row,) = extras.tables({"refit_statistics": METRIC})[""].to_dict("records")
    assert row == {"what": "refit statistics", "value": "0.310 [0.200, 0.400]", "n": "50 people", "note": "one target"}


def test_what_cannot_be_measured_says_why():
    table = extras.tables({"a": {"value": None, "n": 3, "note": "too few"}})[""]
    assert table["value"].tolist() == ["too few"]


def test_plain_values_sentences_and_long_series_are_rows():
    table = extras.tables({"ok": True, "inner": {"x": 0.25}, "reading": ["one", "two"], "series": list(range(99)), "no": None})[
        ""
    ]
    rows = list(zip(table["what"], table["value"], strict=True))
    assert rows == [("ok", "yes"), ("inner · x", "0.25"), ("reading", "one"), ("reading", "two"), ("series", "99 values")]


def test_lists_of_alike_things_are_tables_of_their_own():
    attack = {"spec": {"name": "alsuv", "settings": {"steps": 3}}, "metrics": {"rank1": METRIC}, "reason": ""}
    attack["judges"] = {"a": {"x": METRIC}}
    found = extras.tables({"results": [attack, {**attack, "reason": "none"}], "seed": 1})
    assert list(found) == ["", "Results"]
    grid = found["Results"]
    assert grid["attack"].tolist() == ["alsuv(steps=3)"] * 2
    assert grid["rank1"].tolist() == ["0.310 [0.200, 0.400], n = 50 people"] * 2
    assert grid["reason"].tolist() == ["", "none"]
    assert "judges · a · x" in grid
