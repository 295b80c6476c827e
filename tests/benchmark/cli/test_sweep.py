from __future__ import annotations

import json

import pytest
from tiny_world import FLOW
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.tracks import TRACKS

FILE = f"""
track: {FLOW.name}
shadows: 0
entries:
  - defense: undefended
  - defense: bn_perturbation
    set: {{rho: [0.1, 0.5]}}
  - defense: early_stopping
"""


@pytest.fixture
def file(tmp_path, monkeypatch, fresh_home):
    monkeypatch.setitem(TRACKS, FLOW.name, FLOW)
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    return path


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["sweep", *map(str, arguments), "--device", "cpu"])
    if isinstance(result.exception, Exception):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_a_dry_run_says_what_would_run_and_trains_nothing(file, tmp_path):
    out = tmp_path / "out"
    document = json.loads(run(file, "--dry-run", "--json", "--out", out).stdout)
    assert [row["entry"] for row in document["entries"]] == [
        "undefended", "bn_perturbation(rho=0.1)", "bn_perturbation(rho=0.5)", "early_stopping",
    ]  # fmt: skip
    assert document["waiting"] == 4
    assert document["minutes_left"] > 0
    graph = document["graph"]
    assert graph["cached"] + graph["to_do"] == len(graph["steps"])
    assert sum(step["step"].startswith("bn_perturbation(rho=0.5), backbone") for step in graph["steps"]) == FLOW.population
    assert not out.exists()
    text = run(file, "--dry-run", "--out", out).stdout
    assert f"waiting: bn_perturbation(rho=0.5) on {FLOW.name}[shadows=0], seed 0" in text


def test_the_environment_may_say_how_many_processes_work(file, tmp_path, monkeypatch):
    dry = [file, "--dry-run", "--json", "--out", tmp_path / "out"]
    monkeypatch.setenv("FACEVEIL_WORKERS", "3")
    assert json.loads(run(*dry).stdout)["graph"]["workers"] == 3
    assert json.loads(run(*dry, "--workers", 2).stdout)["graph"]["workers"] == 2
    monkeypatch.setenv("FACEVEIL_WORKERS", "0")
    assert "FACEVEIL_WORKERS" in run(*dry, code=2).output


def test_a_subset_runs_and_the_rest_waits(file, tmp_path):
    out = tmp_path / "out"
    result = run(file, "--only", "undefended", "--only", "*rho=0.5*", "--out", out, "--json")
    document = json.loads(result.stdout)
    assert [(row["entry"], row["status"]) for row in document["entries"]] == [
        ("undefended", "done"), ("bn_perturbation(rho=0.5)", "done"),
    ]  # fmt: skip
    assert "1/2 undefended" in result.stderr
    left = json.loads(run(file, "--dry-run", "--json", "--out", out).stdout)
    assert [row["status"] for row in left["entries"]] == ["done", "waiting", "done", "waiting"]
    text = run(file, "--dry-run", "--out", out).stdout
    assert "2 done, 0 failed, 2 waiting" in text
    assert "AUC sample" in text


def test_a_pattern_that_nothing_matches_is_refused(file):
    with pytest.raises(FaceVeilError, match=r"no entry of this name\. Entries: undefended, bn_perturbation"):
        run(file, "--only", "dp_sgd")


def test_no_time_no_training(file, tmp_path):
    document = json.loads(run(file, "--minutes", "0", "--json", "--out", tmp_path / "out").stdout)
    assert document["waiting"] == 4
