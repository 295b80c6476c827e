from __future__ import annotations

from record_factory import make_record

from leaderboard import extras

METRIC = {"value": 0.31, "low": 0.2, "high": 0.4, "n": 50, "unit": "people", "note": "one target"}


def test_a_record_without_more_has_no_more_sections():
    assert extras.sections(make_record(extra={"smoke": True})) == {}


def test_what_a_record_holds_beyond_the_standard_is_a_section_each():
    found = extras.sections(make_record(extra={"attribution": {"refit": METRIC}, "audit_bound": {"epsilon": 2.0}, "empty": {}}))
    assert list(found) == ["Attribution", "Audit bound"]


def test_numbers_carry_their_interval_and_n():
    (row,) = extras.table({"refit_statistics": METRIC}).to_dict("records")
    assert row == {"what": "refit statistics", "value": "0.310 [0.200, 0.400]", "n": "50 people", "note": "one target"}


def test_what_cannot_be_measured_says_why():
    table = extras.table({"a": {"value": None, "n": 3, "note": "too few"}})
    assert table["value"].tolist() == ["too few"]


def test_nested_lists_and_plain_values_are_rows():
    table = extras.table({"runs": [{"name": "x", "auc": METRIC, "ok": True}, {"auc": METRIC}], "series": list(range(99))})
    assert table["what"].tolist() == ["runs · x · name", "runs · x · auc", "runs · x · ok", "runs · 2 · auc", "series"]
    assert table["value"].tolist()[2:] == ["yes", "0.310 [0.200, 0.400]", "99 values"]
