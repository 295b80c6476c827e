"""``faceveil rank`` says what the board says."""

from __future__ import annotations

import json

import pytest
from command_line import document, run
from record_factory import make_record

from benchmark.cli import output
from benchmark.interfaces import FaceVeilError
from benchmark.records.exporting import to_json
from benchmark.service.store import Store
from leaderboard.board import library
from leaderboard.board.columns import TABLE
from leaderboard.board.library import load


@pytest.fixture
def records(fresh_home, tmp_path, monkeypatch):
    """Two controls and two entries: one in the store, the others among the records that ship; an older protocol beside them."""
    private = make_record("undefended", "undefended", utility=0.64, leakage=0.75)
    public = make_record("public_only", "public_only", utility=0.47, leakage=0.0)
    weak = make_record("weak", "early_stopping", utility=0.30, leakage=0.2)
    old = make_record("undefended", "undefended", utility=0.6, leakage=0.7, protocol_version="0.2")
    shipped = tmp_path / "records"
    shipped.mkdir()
    (shipped / "all.json").write_text(to_json([private, public, old]))
    monkeypatch.setattr(library, "RECORDS", shipped)
    Store().add_record(weak)
    return [private, public, weak, old]


def test_store_and_shipped_records_make_a_table_for_each_scope(records):
    found = document("rank", "--track", "synthetic-quick")
    assert [(t["protocol_version"], t["board"], len(t["entries"])) for t in found["tables"]] == [
        (records[0].protocol_version, "verified", 3),
        ("0.2", "verified", 1),
    ]
    present, older = found["tables"]
    assert present["value_gate"]["passed"] is True
    assert older["value_gate"]["passed"] is None
    rows = {row["entry"]: row for row in present["entries"]}
    assert rows["weak"]["bought_nothing"] is True
    assert rows["public_only"]["nothing_found"] is True
    assert rows["undefended"]["control"] is True
    assert all(isinstance(row["tied"], bool) for row in rows.values())


def test_it_says_what_the_board_says(records):
    frame = load().frame.set_index(["protocol_version", "entry"])
    for table in document("rank", "--track", "synthetic-quick")["tables"]:
        for row in table["entries"]:
            shown = frame.loc[(table["protocol_version"], row["entry"])]
            assert row["rank"] == shown["rank"]
            for name in ("utility", "leakage"):
                assert row[name] == pytest.approx([shown[name], shown[f"{name}_low"], shown[f"{name}_high"]])


def test_its_rows_have_the_columns_of_the_board(records):
    (table, _) = document("rank", "--track", "synthetic-quick")["tables"]
    assert [list(row) for row in table["entries"]] == [[column.name for column in TABLE]] * 3


def test_the_interval_printed_is_the_record_s_own(records):
    (table, _) = document("rank", "--track", "synthetic-quick")["tables"]
    own = {r.card.name: r.headline.leakage for r in records if r.protocol_version != "0.2"}
    for row in table["entries"]:
        metric = own[row["entry"]]
        assert row["leakage"] == [metric.value, metric.low, metric.high]


def test_the_text_marks_what_was_not_found_and_what_bought_nothing(records, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = run("rank", "--track", "synthetic-quick").stdout
    assert "n.f." in text
    assert "bought nothing with the private photos" in text
    assert "value gate passed" in text


def test_the_table_fits_80_columns_with_every_interval_whole(records, monkeypatch):
    monkeypatch.setattr(output.out, "width", 80)
    lines = run("rank", "--track", "synthetic-quick").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("0.640 [0.600, 0.680]  0.750 [0.710, 0.790]" in line for line in lines)
    assert any(line.split() == ["1", "regrown_head", "(sample)"] for line in lines)


def test_why_entries_have_no_rank_stands_below_the_table_once(fresh_home, tmp_path, monkeypatch):
    made = [
        make_record("undefended", "undefended", utility=0.5),
        make_record("public_only", "public_only", utility=0.6),
        make_record("weak", "early_stopping", utility=0.3),
        make_record("half", "early_stopping", {"epochs": 3}, complete=False),
    ]
    monkeypatch.setattr(library, "RECORDS", tmp_path)
    for record in made:
        Store().add_record(record)
    monkeypatch.setattr(output.out, "width", 80)
    text = run("rank", "--track", "synthetic-quick").stdout
    assert max(map(len, text.splitlines())) <= 80
    in_table, below = text.split("by, the strongest attack:")
    assert "value gate" not in in_table
    below = " ".join(below.split())
    assert below.count("value gate failed") == 1
    assert "no entry is ranked: the value gate failed" in below
    assert "not ranked: half: incomplete: not every attack" in below
    assert below.count("not ranked: ") == 1


def test_one_protocol_version_alone(records):
    found = document("rank", "--track", "synthetic-quick", "--protocol", "0.2")
    assert [t["protocol_version"] for t in found["tables"]] == ["0.2"]
    assert json.dumps(found)


def test_without_a_record_it_says_what_to_run(records):
    with pytest.raises(FaceVeilError, match=r"no record of track 'synthetic-64'.*there are of: synthetic-quick.*quickstart"):
        run("rank", "--track", "synthetic-64")


def test_without_a_track_it_takes_the_one_on_which_the_board_opens(records):
    assert document("rank")["track"] == "synthetic-quick"
