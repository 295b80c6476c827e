"""The records that ship: what a reader of a fresh clone is shown."""

from __future__ import annotations

import json

import pytest

from benchmark.protocol.track import PROTOCOL_VERSION
from benchmark.records.ranking import rank
from benchmark.records.record import Record
from leaderboard.board.library import RECORDS


@pytest.fixture(scope="module")
def entries():
    records = [Record.model_validate(item) for path in RECORDS.glob("*.json") for item in json.loads(path.read_bytes())]
    return [entry for entry in rank(records) if entry.scope.protocol_version == PROTOCOL_VERSION]


def test_the_present_protocol_has_its_controls(entries):
    tracks = {entry.scope.track for entry in entries}
    assert tracks
    for track in tracks:
        names = {entry.runs[0].defense_names for entry in entries if entry.scope.track == track and entry.control}
        assert names == {("undefended",), ("public_only",)}


def test_nobody_in_rank_1_recognises_less_than_public_faces_alone(entries):
    assert not [entry.label for entry in entries if entry.rank == 1 and entry.bought_nothing]
