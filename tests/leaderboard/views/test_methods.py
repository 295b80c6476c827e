from __future__ import annotations

import pytest
from record_factory import make_record
from streamlit.testing.v1 import AppTest

from benchmark.service.store import Store
from leaderboard.board import library

APP = """

from leaderboard.views import methods
methods.page()
"""


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEVEIL_STORE_URL", str(tmp_path / "store.sqlite"))
    monkeypatch.setattr(library.load, "__defaults__", (None, tmp_path))

    def start(*records, method):
        store = Store(tmp_path / "store.sqlite")
        for record in records:
            store.add_record(record)
        test = AppTest.from_string(APP, default_timeout=30)
        test.query_params["method"] = method
        test.run()
        assert not test.exception
        return test

    return start


def test_a_defence_with_its_records(page):
    records = [make_record("plain"), make_record("dp", "dp_sgd", {"epsilon": 8}, utility=0.5, leakage=0.1)]
    test = page(*records, method="defenses/dp_sgd")
    assert test.subheader[0].value == "DP-SGD"
    settings, used = test.dataframe[0].value, test.dataframe[1].value
    assert "epsilon" in set(settings["name"])
    assert len(used) == 1


def test_an_attack(page):
    test = page(make_record("plain"), method="membership/bn_distance")
    assert "2401.13719" in test.caption[0].value
    assert any("of 1" in m.value for m in test.markdown)
