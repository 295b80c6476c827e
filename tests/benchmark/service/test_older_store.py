"""A store that FaceVeil 0.2 wrote, opened by this version: its records are read, listed, ranked apart and exported."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from record_factory import make_record

from benchmark.records.exporting import to_csv
from benchmark.records.ranking import rank
from benchmark.service.store import Store

WRITTEN_BY_0_2 = Path(__file__).parent / "data" / "store-0.2.sqlite.gz"  # undefended, early_stopping and dp_user


@pytest.fixture
def store(tmp_path):
    (tmp_path / "store.sqlite").write_bytes(gzip.decompress(WRITTEN_BY_0_2.read_bytes()))
    return Store(tmp_path / "store.sqlite")


def test_its_records_are_read(store):
    records = store.records()
    assert {r.card.name for r in records} == {"undefended", "early_stopping", "dp_user"}
    assert {r.protocol_version for r in records} == {"0.2"}
    assert all(r.headline and r.headline.targets == 1 and r.headline.low_fpr is None for r in records)
    assert all(r.gate.valid for r in records)


def test_its_summaries_learn_what_is_new(store):
    found = {row.summary.name: row.summary for row in store.index()}
    assert found["undefended"].leakage[0] == pytest.approx(0.752, abs=1e-3), "what stood there stays"
    assert not found["undefended"].nothing_found
    assert found["dp_user"].nothing_found
    assert found["dp_user"].targets == 1


def test_they_are_ranked_apart_from_the_present_protocol(store):
    present = make_record(track="synthetic-quick", utility=0.99, leakage=0.01)
    entries = rank([*store.records(), present])
    old = {e.label: e for e in entries if e.scope.protocol_version == "0.2"}
    assert len(old) == 3
    assert old["dp_user"].nothing_found
    assert "undefended" not in old["dp_user"].dominated_by or old["dp_user"].rank > 1
    assert all(present.card.name not in e.dominated_by for e in old.values() if e.label != "undefended")
    assert all(e.gain.value is None for e in old.values()), "there was no public_only to compare with"


def test_they_are_exported_with_the_intervals_that_they_were_stored_with(store):
    records = store.records()
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(to_csv(records)))}
    for record in records:
        row, leakage = rows[record.card.name], record.headline.leakage
        assert float(row["leakage_low"]) == leakage.low
        assert row["nothing_found"] == str(record.headline.nothing_found).lower()
        assert row["low_fpr"] == ""


def test_it_can_be_added_to(store):
    store.add_record(make_record())
    assert len(store.records()) == 4
