from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer

from benchmark.cli import output
from benchmark.cli.evaluate import parse_attack
from benchmark.cli.output import emit, facts, number, pick_device, settings, steps, table
from benchmark.interfaces import AttackSpec, FaceVeilError
from benchmark.records.results import Metric
from benchmark.runtime.executor import Node, Status
from benchmark.runtime.progress import TrainingProgress


def test_settings_are_read_as_json_where_they_can_be():
    pairs = ["rho=0.5", "epochs=3", "flip=true", "name=plain text", "sizes=[1, 2]", "nothing=null", "equals=a=b", "empty="]
    assert settings(pairs) == {
        "rho": 0.5,
        "epochs": 3,
        "flip": True,
        "name": "plain text",
        "sizes": [1, 2],
        "nothing": None,
        "equals": "a=b",
        "empty": "",
    }


@pytest.mark.parametrize("pair", ["rho", "=1", ""])
def test_a_setting_without_a_name_or_value_is_wrong_usage(pair):
    with pytest.raises(typer.BadParameter, match="key=value"):
        settings([pair])


def test_attacks_with_settings_in_one_word():
    assert parse_attack("regrown_head") == AttackSpec(name="regrown_head")
    found = parse_attack("bn_distance:statistic=mean_var:knowledge=auxiliary")
    assert found == AttackSpec(name="bn_distance", settings={"statistic": "mean_var", "knowledge": "auxiliary"})


def test_a_number_or_why_there_is_none():
    assert number(Metric(value=0.81249, low=0.79, high=0.8333, n=3)) == "0.812 [0.790, 0.833]"
    assert number(Metric(value=0.5, n=3), digits=1) == "0.5"
    assert number(Metric(value=None, n=3, note="not measurable: 3 negatives")) == "not measurable: 3 negatives"
    assert number(None) == "–"


def test_devices():
    assert pick_device("cpu") == "cpu"
    assert torch.device(pick_device("auto")).type in ("cpu", "cuda", "mps")
    with pytest.raises(typer.BadParameter, match="--device toaster cannot be used"):
        pick_device("toaster")
    if not torch.cuda.is_available():
        with pytest.raises(typer.BadParameter, match="--device cuda cannot be used"):
            pick_device("cuda")


def test_json_is_one_document_and_text_is_none(capsys):
    emit({"a": [1, None]}, True, lambda: pytest.fail("both were printed"))
    assert json.loads(capsys.readouterr().out) == {"a": [1, None]}
    emit({"a": 1}, False, lambda: print("text"))
    assert capsys.readouterr().out == "text\n"


def test_cells_are_text_and_never_markup(capsys, monkeypatch):
    monkeypatch.setattr(output, "out", output.Console(width=80, highlight=False))
    table("", ["name"], [["[bold red]x[/]"]])
    facts({"name": "[link=http://a]x[/link]", "empty": "", "inner": {"k": "[b]v"}})
    printed = capsys.readouterr().out
    assert "[bold red]x[/]" in printed
    assert "[link=http://a]x[/link]" in printed
    assert "  k: [b]v" in printed
    assert "empty" not in printed


def test_progress_goes_to_stderr(capsys):
    with steps() as progress:
        progress.step("counting [sheep]")
        progress.training(TrainingProgress(epoch=1, epochs=2, loss=1.5, accuracy=0.5, seconds=0.1, images_per_second=10.0))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "counting [sheep]" in captured.err


def test_a_log_tells_at_once_what_runs_and_again_after_a_minute_without_news(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: clock[0])
    runs, node = Status(0, 2, ("backbone 1",), 600.0), Node("1", print, label="backbone 1")
    with steps() as progress:
        progress.step("training 2 backbones")
        for seconds in (1, 2, 59, 62, 63):
            clock[0] = seconds
            progress.tasks(runs)
        progress.tasks(Status(1, 2, (), 300.0, node, 60.0))
        clock[0] = 100
        progress.tasks(Status(1, 2, ("backbone 2",), 270.0))
    lines = [line.split(maxsplit=1)[1] for line in capsys.readouterr().err.splitlines() if line[:4].isdigit()]
    waiting = "0/2 done; running: backbone 1; about 10 min left"
    assert lines == ["training 2 backbones", waiting, waiting, "backbone 1: 1 min; 1/2 done; about 5 min left"]


def test_an_output_that_cannot_be_is_refused_before_any_work(tmp_path):
    (tmp_path / "entry").mkdir()
    (tmp_path / "entry" / "card.json").write_text("{}")
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "entry" / "card.json", tmp_path / "entry" / "x" / ".." / "new.json"):
        with pytest.raises(FaceVeilError, match="belongs to what is read"):
            output.check_out(wrong, None, tmp_path / "entry")
    with pytest.raises(FaceVeilError, match="is a folder"):
        output.check_out(tmp_path / "entry")
    with pytest.raises(OSError, match="file"):
        output.check_out(tmp_path / "file" / "x.json")
    output.check_out(tmp_path / "new" / "x.json", tmp_path / "entry")
    assert (tmp_path / "new").is_dir()
    for right in (None, tmp_path / "file", Path("/dev/null")):
        output.check_out(right, tmp_path / "entry")
