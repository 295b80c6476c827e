"""The log of a long command: each step with its time, how it ended, and no secret."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from benchmark.cli import logfile
from benchmark.cli.output import steps
from benchmark.runtime.home import logs_dir

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d (INFO|WARNING) .+")


def lines() -> list[str]:
    (file,) = logs_dir().glob("*.log")
    found = file.read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in found)
    return [line.split(" ", 1)[1] for line in found]


def test_steps_and_warnings_stand_there_with_their_times(fresh_home, monkeypatch, caplog):
    monkeypatch.setattr("sys.argv", ["faceveil", "train", "--track", "synthetic-smoke"])
    with steps() as progress:
        progress.step("opening the photos")
        logging.getLogger("faceveil.cache").warning("a file is damaged")
    found = lines()
    assert found[0] == "INFO faceveil train --track synthetic-smoke"
    assert found[1:3] == ["INFO opening the photos", "WARNING a file is damaged"]
    assert found[-1].startswith("INFO done after")
    assert caplog.messages == ["a file is damaged"]  # other handlers see warnings, as without a log, and no steps
    assert "-train-" in next(logs_dir().glob("*.log")).name


def test_warnings_stay_on_the_screen_where_nobody_else_handles_them(fresh_home, monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with logfile.opened(["train"]):
        logging.getLogger("faceveil.cache").warning("a file is damaged")
    assert capsys.readouterr().err.strip() == "a file is damaged"


def test_a_failure_stands_there_and_its_log_is_known(fresh_home):
    with pytest.raises(ValueError, match="too small"), logfile.opened(["evaluate", "run/mine"]):
        raise ValueError("too small")
    assert "ValueError: too small" in lines()[-1]
    assert logfile.failed == next(logs_dir().glob("*.log"))
    with logfile.opened(["evaluate", "run/mine"]):
        assert logfile.failed is None


def test_a_token_is_no_part_of_it(fresh_home):
    with logfile.opened(["submit", "run/mine", "--token", "abc-secret", "--token=abc-secret", "--yes"]):
        pass
    assert lines()[0] == "INFO faceveil submit run/mine --token (hidden) --token=(hidden) --yes"


def test_old_logs_are_removed(fresh_home, monkeypatch):
    monkeypatch.setattr(logfile, "KEPT", 3)
    for number in range(5):
        (logs_dir() / f"20260101-00000{number}-train-1.log").touch()
    with logfile.opened(["train"]):
        names = sorted(file.name for file in logs_dir().glob("*.log"))
    assert len(names) == 3
    assert names[0].startswith("20260101-000003")


def test_a_home_that_cannot_be_written_to_costs_the_log_alone(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path / "file" / "home"))
    with logfile.opened(["train"]):
        logfile.note("nothing")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_disk_that_is_full_costs_the_log_and_prints_nothing(fresh_home, monkeypatch, capsys):
    monkeypatch.setattr(logfile, "_begin", lambda _words: logfile._Handler("/dev/full", encoding="utf-8"))
    with steps() as progress:
        progress.step("opening the photos")
    assert "Traceback" not in capsys.readouterr().err
