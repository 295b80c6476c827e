from __future__ import annotations

import os
import time

import pytest

from benchmark.cli.bench.board import _verdict
from leaderboard.bench import readers, records
from leaderboard.board.library import library


def test_the_crowd_is_real_records_of_one_ranking(tmp_path):
    size = records.write(tmp_path / "records", 7)
    board = library(str(tmp_path / "store.sqlite"), tmp_path / "records").board()
    assert not board.problems
    assert len(board.frame) == 7
    assert board.frame["entry"].nunique() == board.frame["configuration"].nunique() == 7
    assert len(board.frame[["track", "board", "split_digest"]].drop_duplicates()) == 1
    assert board.frame["rank"].notna().all()
    assert board.frame["utility"].nunique() == 7
    assert 1_000 < size < 1_000_000


def test_aims_are_met_from_the_right_side():
    row = {"bound": 2.5, "unit": "s"}
    assert [_verdict({**row, "value": v}) for v in (2.4, 2.6)] == ["at most 2.5: met", "at most 2.5: missed"]
    row = {"bound": 500.0, "unit": "a second"}
    assert [_verdict({**row, "value": v}) for v in (501, 499)] == ["at least 500: met", "at least 500: missed"]
    assert _verdict({"bound": None, "unit": "s", "value": 1.0}) == ""


def test_processor_time_is_that_of_the_process():
    before = readers.processor_seconds(os.getpid())
    if before is None:
        pytest.skip("this system does not tell")
    started = time.process_time()
    while time.process_time() - started < 0.2:
        pass
    assert 0.1 < readers.processor_seconds(os.getpid()) - before < 1
    assert readers.processor_seconds(2**30) is None
