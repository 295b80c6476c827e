"""Every page but the board, on a few records, in Streamlit's own test harness."""

from __future__ import annotations

import pytest
from record_factory import make_record
from streamlit.testing.v1 import AppTest

from benchmark.service.store import Store
from benchmark.submissions.card import Claim
from benchmark.submissions.report import Flag
from leaderboard.board import library
from leaderboard.board.library import build

EVIL = "<img src=x onerror=alert(1)> [x](https://evil.example) :red[hi] $x$"
METRIC = {"value": 0.12, "low": 0.1, "high": 0.14, "n": 40, "unit": "people"}


def records():
    return [
        make_record("undefended", utility=0.85, leakage=0.75),
        make_record("dp", "dp_sgd", {"epsilon": 8}, utility=0.4, leakage=0.1, extra={"attribution": {"refit": METRIC}},
                    card={"claim": Claim(epsilon=8, delta=0, unit="photo")}),
        make_record("early", "early_stopping", {"epochs": 12}, utility=0.78, leakage=0.45),
        make_record("half", settings={"x": 2}, complete=False),
        make_record(EVIL, settings={"x": 3}, board="weights", team=EVIL,
                    flags=(Flag(name=EVIL, severity="error", reason=EVIL),)),
        make_record("old", protocol_version="0.0"),
    ]  # fmt: skip


def keys() -> dict[str, str]:
    return {entry.label: key for key, entry in build(records()).entries.items()}


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Draws a page on the records given, from this test's own store and no shipped records."""
    monkeypatch.setenv("FACEVEIL_STORE_URL", str(tmp_path / "store.sqlite"))
    monkeypatch.setattr(library.load, "__defaults__", (None, tmp_path))
    monkeypatch.setattr(library.library, "__defaults__", (None, tmp_path))

    def start(name, made=None, **query) -> AppTest:
        for record in records() if made is None else made:
            Store(tmp_path / "store.sqlite").add_record(record)
        script = f"from leaderboard.views import {name}\n{name}.page()"
        test = AppTest.from_string(script, default_timeout=30)
        for key, value in query.items():
            test.query_params[key] = value
        test.run()
        assert not test.exception
        return test

    return start


def text(test: AppTest) -> str:
    kinds = (test.markdown, test.caption, test.info, test.warning, test.error, test.title, test.subheader)
    return "\n".join(str(e.value) for kind in kinds for e in kind)


PAGES = ["pareto", "compare", "submission", "attacks", "about"]


@pytest.mark.parametrize("name", PAGES)
def test_pages_open_and_name_themselves(page, name):
    assert page(name).title[0].value


@pytest.mark.parametrize("name", ["pareto", "compare", "submission", "attacks"])
def test_without_results_pages_say_what_makes_some(page, name):
    test = page(name, [])
    assert [c.value for c in test.code] == ["faceveil quickstart"]


@pytest.mark.parametrize("name", ["pareto", "compare", "submission", "attacks"])
def test_what_submitters_wrote_is_never_rendered(page, name):
    test = page(name, board="weights", entry=keys()[EVIL])
    assert "evil" not in text(test)
    assert not any(element.allow_html for element in test.markdown)


def test_pareto_offers_the_axes_that_were_measured(page):
    test = page("pareto", axis="Sample AUC")
    assert test.button_group(key="axis").value == "Sample AUC"
    assert "ranks are made on membership advantage" in text(test)
    assert "1 unranked entry is left out" in text(test)


def test_equal_utility_follows_the_slider_and_the_link(page):
    table = page("pareto", tar="0.7").dataframe[0].value
    assert dict(zip(table["Defence"], table["Reaches it"], strict=True)) == {
        "early": "yes", "undefended": "yes", "dp": "no, at most 0.400",
    }  # fmt: skip


def test_a_link_opens_an_entry_of_any_scope(page):
    for name in (EVIL, "early", "old"):
        test = page("submission", entry=keys()[name])
        assert test.text[0].value.startswith(f"{name} · by ")
    assert "not on this board" in text(page("submission", entry="0123456789"))


def test_a_submission_shows_its_numbers_and_how_to_get_them_again(page):
    test = page("submission", tab="Reproduce", entry=keys()["dp"])
    values = {m.label: m.value for m in test.metric}
    assert values["Utility, TAR@FAR=1e-3"] == "0.400"
    assert values["Claimed ε"] == "8"
    codes = "\n".join(c.value for c in test.code)
    assert "faceveil train --track synthetic-quick --defense dp_sgd --set epsilon=8" in codes
    assert "weights_sha256" in codes
    assert "@misc{faceveil-" in codes


def test_parts_that_a_record_has_beyond_the_standard_have_a_tab(page):
    test = page("submission", tab="Attribution", entry=keys()["dp"])
    assert [t.label for t in test.tabs] == ["Attacks", "ROC", "Utility", "Attribution", "Cost", "Card", "Reproduce"]
    assert test.dataframe[0].value["value"].tolist() == ["0.120 [0.100, 0.140]"]


def test_red_flags_are_shown_as_plain_text(page):
    test = page("submission", entry=keys()[EVIL])
    assert any(EVIL in code.value for code in test.code)


def test_an_entry_with_seeds_and_one_without_attacks(page):
    runs = [make_record("seeds", seed=s, utility=0.5 + s / 10) for s in range(3)]
    empty = make_record("empty", settings={"a": 1}, headline=False, complete=False, membership=())
    found = {entry.label: key for key, entry in build([*runs, empty]).entries.items()}
    test = page("submission", [*runs, empty], tab="ROC", entry=found["seeds"])
    assert any("3 seeds" in c.value for c in test.caption)
    assert [b.label for b in test.button_group] == ["Board", "Run", "Contrast"]
    assert "no attack was run" in text(page("submission", [], tab="ROC", entry=found["empty"]))
    assert "No attack was run" in text(page("submission", [], entry=found["empty"]))


def test_comparing_two_entries(page):
    test = page("compare", entry=[keys()["dp"], keys()["early"]])
    assert test.multiselect(key="compared").value == [keys()["dp"], keys()["early"]]
    summary, differences = test.dataframe[0].value, test.dataframe[1].value
    assert summary["entry"].tolist() == ["A: dp", "B: early"]
    assert "significant" in differences["leakage"][0]
    test.multiselect(key="compared").set_value([keys()["dp"]]).run()
    assert "two to four" in text(test)
    assert test.query_params["entry"] in (keys()["dp"], [keys()["dp"]])


def test_entries_that_were_not_measured_alike_are_marked_so(page):
    test = page("compare", entry=[keys()["dp"], keys()["old"]])
    assert "were not measured alike" in text(test)


def test_attacks_are_explained_and_who_resists_is_listed(page):
    test = page("attacks", attack="regrown_head")
    assert "Tells members by regrown head" in test.text[0].value
    assert "regrown_head" in test.dataframe[0].value["attack"].tolist()
    entries = test.dataframe[1].value
    assert entries["entry"].tolist()[0] == "dp"  # the least AUC


def test_about_names_the_protocol_and_its_changes(page):
    from benchmark.protocol.changes import CHANGES
    from benchmark.protocol.track import PROTOCOL_VERSION

    assert PROTOCOL_VERSION in CHANGES
    test = page("about")
    assert f"**{PROTOCOL_VERSION}**" in text(test)
    assert test.dataframe[0].value["protocol"].tolist() == list(reversed(CHANGES))


def test_about_shows_what_generators_draw_where_an_operator_put_it(page, fresh_home):
    from PIL import Image

    assert "What the generators draw" not in text(page("about"))
    folder = fresh_home / "galleries" / "generators"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "[dcgan](x).png")
    test = page("about")
    assert "What the generators draw" in text(test)
    assert "[dcgan](x)" in [found.value for found in test.text]


def test_about_shows_rounds_where_there_are_some(page, monkeypatch, tmp_path):
    from benchmark.service.store import Store
    from leaderboard.views import about

    store = Store(tmp_path / "rounds.sqlite")
    monkeypatch.setattr(about, "store", lambda: store)
    assert "**round**" not in text(page("about"))
    store.rounds.publish("5e" * 32)
    test = page("about")
    assert "**round**" in text(test)
    assert test.dataframe[2].value["secret_sha256"].tolist() == ["5e" * 32]
    store.close()
