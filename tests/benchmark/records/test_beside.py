"""Inversions in files beside record files are joined to the records of that submission, and to no others."""

from __future__ import annotations

import json
import os

import pytest
from record_factory import make_record

from benchmark.interfaces import PluginInfo
from benchmark.records import beside
from benchmark.records.digest import state_of
from benchmark.records.exporting import to_json
from benchmark.records.reading import items
from benchmark.records.record import Record
from benchmark.records.results import InversionRecord, Metric

LEAKAGE = Metric(value=0.12, low=0.05, high=0.2, n=60)
INFO = PluginInfo(name="bn_guided", summary="s", reference="r")


def result(record: Record, **changes) -> beside.InversionFile:
    values = {
        "submission_id": record.provenance.submission_id,
        "track": record.track,
        "protocol_version": record.protocol_version,
        "inversion": InversionRecord(results=(), judges=(), leakage=LEAKAGE, leakage_attack="bn_guided"),
        "attacks": {"bn_guided": INFO},
    }
    return beside.InversionFile(**(values | changes))


@pytest.fixture
def folder(tmp_path):
    records = [make_record("plain"), make_record("dp", "dp_sgd", {"epsilon": 8})]
    (tmp_path / "records.json").write_text(to_json(records))
    return tmp_path, records


def read(folder) -> list[Record]:
    return [Record.model_validate(item) for item in items(folder / "records.json")]


def test_it_is_joined_to_its_record_alone_and_outlives_another_export(folder):
    place, records = folder
    beside.write(place, result(records[0]))
    for _ in range(2):
        plain, other = read(place)
        assert plain.inversion.leakage == LEAKAGE
        assert plain.attacks["bn_guided"] == INFO
        assert other.inversion is None
        (place / "records.json").write_text(to_json(records))  # from a store that ran no inversion


def test_what_lies_beside_a_file_is_not_written_into_it_again(folder):
    place, records = folder
    beside.write(place, result(records[0]))
    plain, other = read(place)
    assert [beside.apart(record, place) for record in (plain, other)] == records
    assert beside.apart(plain, place / "elsewhere") == plain
    newer = plain.model_copy(update={"inversion": InversionRecord(results=(), judges=(), generator="newer")})
    assert beside.apart(newer, place) == newer


@pytest.mark.parametrize("change", [{"track": "another"}, {"protocol_version": "0.2"}, {"submission_id": None}])
def test_what_belongs_to_another_record_is_not_joined(folder, change):
    place, records = folder
    name = records[0].provenance.submission_id
    if "submission_id" in change:
        change = {"submission_id": name[:16] + name[16:][::-1] + "0"}
    beside.write(place, result(records[0], **change))
    assert read(place)[0].inversion is None


def test_a_record_keeps_its_own(folder):
    place, records = folder
    own = records[0].model_copy(update={"inversion": InversionRecord(results=(), judges=(), generator="own")})
    (place / "records.json").write_text(to_json([own]))
    beside.write(place, result(own))
    assert read(place)[0].inversion.generator == "own"


def test_a_damaged_file_costs_its_inversion_alone(folder, caplog):
    place, records = folder
    beside.write(place, result(records[0])).write_text("{")
    assert [record.inversion for record in read(place)] == [None, None]
    assert "is left out" in caplog.text


def test_the_state_of_a_file_of_records_follows_what_lies_beside_it(folder):
    place, records = folder
    before = state_of(place / "records.json")
    file = beside.write(place, result(records[0]))
    after = state_of(place / "records.json")
    os.utime(file, ns=(1, 1))
    assert len({before, after, state_of(place / "records.json")}) == 3


def test_nothing_outside_the_folder_is_read(folder):
    place, records = folder
    item = json.loads(to_json(records))[0]
    item["provenance"]["submission_id"] = "../../secret"
    assert beside.joined(item, place) is item
