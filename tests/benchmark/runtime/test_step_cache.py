from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmark.runtime.atomic import replacing, write_text
from benchmark.runtime.step_cache import Pieces


def interrupted(path: Path, error: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_file_is_complete_or_absent(tmp_path):
    path = tmp_path / "deep" / "down" / "file.txt"
    with pytest.raises(KeyboardInterrupt):
        interrupted(path, KeyboardInterrupt())
    assert list(path.parent.iterdir()) == []
    write_text(path, "first")
    with pytest.raises(ZeroDivisionError):
        interrupted(path, ZeroDivisionError())
    assert path.read_text() == "first"
    write_text(path, "second")
    assert path.read_text() == "second"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_piece_is_computed_once(tmp_path):
    pieces, calls = Pieces(tmp_path), []

    def compute():
        calls.append(1)
        return {"value": [1, None, "x"]}

    assert not pieces.has("piece")
    assert pieces.get("piece", compute) == pieces.get("piece", compute) == {"value": [1, None, "x"]}
    assert Pieces(tmp_path).get("piece", compute) == {"value": [1, None, "x"]}
    assert len(calls) == 1
    assert pieces.has("piece")


def test_a_piece_that_failed_is_not_there(tmp_path):
    pieces = Pieces(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        pieces.get("piece", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert not pieces.has("piece")
    assert pieces.get("piece", lambda: 3) == 3


def test_seconds_add_up_over_runs(tmp_path):
    assert Pieces(tmp_path).seconds() == 0
    for name in ("signals", "more", "signals"):  # the second time it is a matter of reading
        Pieces(tmp_path).get(name, lambda: time.sleep(0.1))
    Pieces(tmp_path).get("piece", lambda: None)
    assert Pieces(tmp_path).seconds() >= 0.2
