"""Lines on how far long work is."""

from __future__ import annotations

import pytest

from benchmark.runtime.progress import duration, task_line


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (40, "40 s"), (170, "3 min"), (7500, "2 h 5 min")])
def test_durations_are_as_exact_as_estimates_deserve(seconds, text):
    assert duration(seconds) == text


def test_a_line_tells_what_is_done_what_runs_and_how_long_it_takes():
    assert (
        task_line(2, 6, ["train 3 (epoch 4/20)", "train 4"], 130)
        == "2/6 done; running: train 3 (epoch 4/20), train 4; about 2 min left"
    )
    assert task_line(0, 9, list("abcde"), None) == "0/9 done; running: a, b, c and 2 more"
    assert task_line(6, 6, [], 0) == "6/6 done"
