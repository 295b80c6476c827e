"""Exit codes of the installed command: 0 done, 1 refused or failed with a message, 2 wrong usage."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
from tiny_world import command
from typer.testing import CliRunner

from benchmark.cli import entry, listing
from benchmark.cli.app import app
from benchmark.cli.entry import main
from benchmark.interfaces import FaceVeilError


def exit_of(monkeypatch, *arguments: str) -> int | str | None:
    """Runs the console entry point as the shell does."""
    monkeypatch.setattr(sys, "argv", ["faceveil", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def raising(error: BaseException):
    def maker():
        raise error

    return maker


def test_done_is_0(monkeypatch, capsys):
    assert exit_of(monkeypatch, "list", "tracks") in (0, None)
    assert "synthetic-64" in capsys.readouterr().out


def test_a_refusal_is_1_with_its_message_on_one_line(monkeypatch, capsys):
    text = "no [such] thing at /a/rather/long/path/" + "x" * 200
    monkeypatch.setattr(listing, "_tracks", raising(FaceVeilError(text)))
    assert exit_of(monkeypatch, "list", "tracks") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {text}\n", "neither folded nor read as markup"


def test_wrong_usage_is_2(monkeypatch, capsys):
    assert exit_of(monkeypatch, "list", "everything") == 2
    assert capsys.readouterr().out == ""


def test_an_interrupt_says_how_to_resume(monkeypatch, capsys):
    monkeypatch.setattr(listing, "_tracks", raising(KeyboardInterrupt()))
    monkeypatch.setattr(entry, "leave", sys.exit)
    assert exit_of(monkeypatch, "list", "tracks") == 1
    assert "run the same command again to resume" in capsys.readouterr().err


def test_a_programming_error_is_not_hidden(monkeypatch):
    monkeypatch.setattr(listing, "_tracks", raising(ZeroDivisionError()))
    monkeypatch.setattr(sys, "argv", ["faceveil", "list", "tracks"])
    with pytest.raises(ZeroDivisionError):
        main()


@pytest.mark.slow
def test_ctrl_c_in_a_training(tmp_path):
    """A real signal to a real process, twice; the third run ends in the weights of a run that was left alone."""
    environment = os.environ | {"FACEVEIL_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    train = [*command(), "train", "--track", "tiny", "--device", "cpu", "--json", "--out"]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    checkpoints = tmp_path / "home" / "cache" / "training"
    for _ in range(2):
        process = subprocess.Popen([*train, str(tmp_path / "entry")], env=environment, **pipes)
        deadline = time.monotonic() + 120
        before = {p: p.stat().st_mtime_ns for p in checkpoints.rglob("checkpoint.pt")}
        while {p: p.stat().st_mtime_ns for p in checkpoints.rglob("checkpoint.pt")} == before:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "run the same command again" in errors
        assert "Traceback" not in errors
        assert not (tmp_path / "entry").exists()
    resumed = subprocess.run([*train, str(tmp_path / "entry")], env=environment, check=True, capture_output=True, text=True)
    environment["FACEVEIL_HOME"] = str(tmp_path / "other")
    alone = subprocess.run([*train, str(tmp_path / "alone")], env=environment, check=True, capture_output=True, text=True)
    ids = [re.search(r'"submission_id": "(\w+)"', done.stdout).group(1) for done in (resumed, alone)]
    assert ids[0] == ids[1]


def test_version_and_help():
    runner = CliRunner()
    assert runner.invoke(app, ["--version"]).stdout.strip() == version("faceveil")
    helped = runner.invoke(app, ["-h"])
    assert helped.exit_code == 0
    for name in ("quickstart", "list", "train", "validate", "utility", "evaluate", "rank", "store", "data", "leaderboard"):
        assert name in helped.stdout
