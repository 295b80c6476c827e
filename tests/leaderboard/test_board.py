from __future__ import annotations

import asyncio
import gc
import io
import json
import socket
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from record_factory import make_record
from streamlit.testing.v1 import AppTest

from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import PROTOCOL_VERSION
from benchmark.service.store import Store
from benchmark.submissions.card import Claim
from benchmark.submissions.report import Flag
from leaderboard import launch
from leaderboard.board import library
from leaderboard.board.columns import COLUMNS
from leaderboard.board.library import build
from leaderboard.tables import columns

ROOT = Path(__file__).parents[2]  # the checkout; the package may be installed elsewhere
EVIL = "<img src=x onerror=alert(1)> [x](https://evil.example) :red[hi] $x$"


def records():
    early = {"defense": "early_stopping", "team": "Nordlicht"}
    return [
        make_record("undefended", utility=0.85, leakage=0.75),
        make_record(
            "dp", "dp_sgd", {"epsilon": 8}, utility=0.4, leakage=0.1, card={"claim": Claim(epsilon=8, delta=0, unit="photo")}
        ),
        make_record("early 12", settings={"epochs": 12}, utility=0.78, leakage=0.45, **early),
        make_record("early 6", settings={"epochs": 6}, utility=0.6, leakage=0.6, **early),
        make_record("gate", "dropout", settings={"x": 1}, unranked=("blind gate: pixels tell",), gate_valid=False),
        make_record("half", "dropout", settings={"x": 2}, complete=False),
        make_record(
            EVIL,
            "dropout",
            settings={"x": 3},
            board="weights",
            team=EVIL,
            flags=(Flag(name=EVIL, severity="error", reason=EVIL),),
        ),
    ]


@pytest.fixture
def app(tmp_path, monkeypatch):
    """Starts the board on the records given, from this test's own store and no shipped records."""
    monkeypatch.setenv("FACEVEIL_STORE_URL", str(tmp_path / "store.sqlite"))
    monkeypatch.setattr(library.load, "__defaults__", (None, tmp_path))

    def start(made=None, **query) -> AppTest:
        store = Store(tmp_path / "store.sqlite")
        for record in records() if made is None else made:
            store.add_record(record)
        test = AppTest.from_file(str(launch.APP), default_timeout=30)
        for key, value in query.items():
            test.query_params[key] = value
        test.run()
        assert not test.exception
        return test

    return start


def shown(test: AppTest) -> list[str]:
    return [name for element in test.dataframe for name in element.value.get("entry", [])]


def text(test: AppTest) -> str:
    return "\n".join(str(e.value) for kind in (test.markdown, test.caption, test.info, test.warning, test.error) for e in kind)


def search(test: AppTest, words: str) -> AppTest:
    return next(t for t in test.text_input if t.key == "q").set_value(words).run()


def test_the_empty_board_names_the_command(app):
    test = app([])
    assert "no results yet" in text(test)
    assert [c.value for c in test.code] == ["faceveil quickstart"]
    assert not test.dataframe


def test_ranked_entries_come_first_and_unranked_with_their_reasons(app):
    test = app()
    controls, ranked, unranked = (element.value for element in test.dataframe)
    assert list(controls["entry"]) == ["undefended"]
    assert list(ranked["entry"]) == ["early 12", "dp", "early 6"]
    assert [p.strip() for p in ranked["place"]] == ["1 =", "1 =", "2"]
    assert list(unranked["entry"]) == ["gate", "half"]
    assert unranked["reasons"].iloc[0] == "blind gate: pixels tell"
    assert "incomplete" in unranked["reasons"].iloc[1]
    assert "place" not in unranked
    assert ranked["title"].iloc[0].startswith("submission?entry=")
    assert "recognises 0.780" in test.get("html")[0].proto.body, "the answer stands first"
    assert f"**6 of 6 entries** · 1 on the other board · sorted by rank, then utility · protocol {PROTOCOL_VERSION}" in text(
        test
    )


def test_places_sort_as_text():
    places = columns.printed(build([make_record()]).frame.loc[[0] * 12].assign(rank=range(1, 13), tied=[True, False] * 6))[
        "place"
    ]
    assert sorted(places) == list(places)


def test_search_takes_words_in_any_order_and_any_column(app):
    test = search(app(), "nordlicht EARLY")
    assert shown(test) == ["early 12", "early 6"]
    assert "**2 of 6 entries**" in text(test)
    assert shown(search(test, "(")) == [
        "early 12",
        "dp",
        "early 6",
        "gate",
        "half",
    ]  # settings in brackets; no regular expression
    none = search(test, "nothing like it")
    assert "**0 of 6 entries**" in text(none)
    assert "No entry passes the filters" in text(none)


def test_family_and_complete_filters_and_reset(app):
    test = app()
    test.button_group(key="family").set_value(["Training", "Differential privacy"]).run()
    assert shown(test) == ["early 12", "dp", "early 6", "gate", "half"]
    test.button_group(key="family").set_value([]).run()
    test.toggle(key="complete").set_value(True).run()
    assert "half" not in shown(test)
    assert "gate" in shown(test)  # complete, though not ranked
    search(test, "dp")
    next(b for b in test.button if b.label == "Reset").click().run()
    assert len(shown(test)) == 6
    assert not test.toggle(key="complete").value


def test_sorting_is_chosen_and_visible(app):
    test = app()
    test.selectbox(key="sort").set_value("Utility").run()
    assert shown(test)[:4] == ["undefended", "early 12", "early 6", "dp"]
    test.selectbox(key="sort").set_value("Leakage").run()
    assert shown(test)[:4] == ["undefended", "dp", "early 12", "early 6"], "controls stay on top"


def test_the_url_restores_the_view(app):
    test = app(q="early", sort="Leakage", family="Training")
    assert shown(test) == ["early 12", "early 6"]
    assert test.selectbox(key="sort").value == "Leakage"
    assert shown(app([], board="weights")) == [EVIL]


def test_tracks_are_apart_and_the_default_one_comes_first(app):
    test = app([*records(), make_record("big", track="synthetic-64"), make_record("odd", track="another")])
    assert test.selectbox(key="track").value == "synthetic-64"
    assert shown(test) == ["big"]
    test.selectbox(key="track").set_value("another").run()
    assert shown(test) == ["odd"]


def test_protocol_versions_are_apart(app):
    test = app([make_record("old", protocol_version="0.1"), make_record("new", protocol_version="0.2")])
    assert shown(test) == ["new"]
    setting = test.selectbox(key="setting")
    setting.set_value(setting.options[1]).run()
    assert shown(test) == ["old"]


def test_smoke_runs_are_announced(app):
    assert "too small to conclude from" not in text(app([make_record()]))
    assert "too small to conclude from" in text(app([make_record(settings={"a": 1}, extra={"smoke": True})]))


def test_what_submitters_wrote_is_never_rendered(app):
    test = app(board="weights")
    for kind in (test.markdown, test.caption, test.info, test.warning, test.error, test.title, test.subheader):
        assert not any("evil" in str(element.value) for element in kind)
    assert not any(element.allow_html for element in test.markdown)
    assert EVIL in shown(test)
    assert any("evil" in flags for flags in test.dataframe[0].value["flags"])  # beside the entry, as a cell


def test_flags_stand_beside_the_entry_where_there_are_any(app):
    assert list(app(board="weights").dataframe[0].value)[:3] == ["place", "title", "flags"]
    assert "flags" not in app().dataframe[0].value


def test_columns_are_chosen_and_reset(app):
    test = app()
    assert "backbone" not in test.dataframe[0].value
    test.multiselect(key="columns").set_value(["Backbone"]).run()
    assert list(test.dataframe[0].value) == ["place", "title", "backbone"]
    next(b for b in test.button if b.label == "Reset").click().run()
    assert "utility" in test.dataframe[0].value


def test_what_is_ticked_can_be_opened_or_compared(app):
    test = app()
    buttons = {b.label: b for b in test.button}
    assert buttons["Open"].disabled
    assert buttons["Compare"].disabled


def test_of_many_rows_the_first_are_shown_and_all_are_counted(app, monkeypatch):
    monkeypatch.setattr("leaderboard.widgets.filters.ROWS", 3)
    test = app()
    assert shown(test) == ["undefended", "early 12", "dp"]
    assert "**6 of 6 entries** · rows 1 to 3 shown" in text(test)
    assert shown(search(test, "half")) == ["half"]  # filters look through all
    assert shown(app([], rows="2")) == ["early 6", "gate", "half"]


def test_a_store_that_cannot_be_read_is_explained(app, tmp_path):
    (tmp_path / "store.sqlite").write_bytes(b"no database" * 1000)
    test = AppTest.from_file(str(launch.APP), default_timeout=30).run()
    assert not test.exception
    assert "cannot be read" in text(test)
    assert test.code[0].value


def test_csv_holds_every_number_and_no_formula():
    made = [
        make_record("=cmd|' /C calc'!A0", settings={"a": 1}, team="@team"),
        make_record(" \uff1dcmd", settings={"a": 3}),  # a blank, and the full-width sign
        make_record("-x", settings={"a": 2}, utility=1 / 3),
    ]
    whole = build(made).frame
    read = pd.read_csv(io.StringIO(columns.to_csv(whole)))
    assert list(read.columns) == list(COLUMNS)
    assert set(read["entry"]) == {"'=cmd|' /C calc'!A0", "'-x", "'\uff1dcmd"}
    assert "'@team" in set(read["team"])
    assert read["utility"].tolist() == whole["utility"].tolist()  # all digits


def test_json_holds_what_is_shown_with_nulls_and_explanations():
    whole = build([make_record(utility=1 / 3), make_record("none", settings={"a": 1}, headline=False)]).frame
    read = json.loads(columns.to_json(whole))
    assert read["columns"] == COLUMNS
    by_name = {row["entry"]: row for row in read["entries"]}
    assert by_name["undefended"]["utility"] == pytest.approx(1 / 3, abs=1e-14)
    assert by_name["undefended"]["rank"] == 1
    assert by_name["none"]["utility"] is None
    assert by_name["none"]["rank"] is None


def test_the_config_file_is_what_the_launcher_passes():
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    for key, value in launch.SETTINGS.items():
        section = config
        for part in key.split("."):
            section = section[part]
        assert section == value, key
    leaves = sum(
        len([v for v in s.values() if not isinstance(v, dict)])
        for s in (*config.values(), *config["theme"].values())
        if isinstance(s, dict)
    )
    assert leaves == len(launch.SETTINGS)


def test_the_launchers_settings_are_ones_that_streamlit_knows():
    from streamlit import config

    settings = launch.settings("127.0.0.1", 8501, public_host="board.example")
    assert set(settings) <= set(config.get_config_options())
    assert settings["server.allowedHosts"] == ["localhost", "127.0.0.1", "[::1]", "board.example"]
    assert "server.allowedHosts" not in launch.settings("0.0.0.0", 8501)


def test_answers_do_not_wait_for_acknowledgements():
    async def nodelay() -> int:
        found = asyncio.get_running_loop().create_future()
        with launch.listen("127.0.0.1", 0) as listening:
            server = await asyncio.start_server(lambda _, writer: found.set_result(writer), sock=listening)
            _, client = await asyncio.open_connection(*listening.getsockname())
            writer = await found
            state = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for end in (client, writer, server):
                end.close()
        return state

    assert asyncio.run(nodelay())


def test_a_taken_port_is_told_with_what_to_do():
    with launch.listen("127.0.0.1", 0) as listening:
        listening.listen()
        with pytest.raises(FaceVeilError, match=r"cannot listen on 127\.0\.0\.1.*Choose another --port"):
            launch.listen("127.0.0.1", listening.getsockname()[1])


def test_what_lives_as_long_as_the_server_is_not_searched_for_garbage():
    try:
        launch.settle()
        assert gc.get_freeze_count() > 1000
        settled = gc.get_freeze_count()
        launch.settle()
        assert gc.get_freeze_count() < 1.1 * settled  # once each, however often a board is made
    finally:
        gc.unfreeze()
