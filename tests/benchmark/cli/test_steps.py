"""Every line of a log has a time."""

from __future__ import annotations

import re

from benchmark.cli.output import steps
from benchmark.runtime.executor import Engine, Node


def nothing() -> None:
    pass


def test_lines_of_a_log_have_a_time_and_finished_tasks_are_told(capsys):
    with steps() as progress:
        progress.step("opening the photos")
        Engine().run_graph([Node("a", nothing, label="train 0"), Node("b", nothing, ("a",), label="train 1")], progress.tasks)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 3
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d ", line) for line in lines)
    assert lines[0].endswith("opening the photos")
    assert lines[2].endswith("train 1: 1 s; 2/2 done")
