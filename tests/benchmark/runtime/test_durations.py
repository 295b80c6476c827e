"""Estimates follow what was measured, here and before."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.runtime.durations import Durations


def remembering(path: Path, **seconds: float) -> Durations:
    """As a later run finds them: what an earlier one measured."""
    before = Durations(path)
    for kind, taken in seconds.items():
        before.add(kind, taken)
    before.save()
    return Durations(path)


def test_means_are_remembered_across_runs(tmp_path: Path):
    first = Durations(tmp_path / "durations.json")
    first.add("train", 10)
    first.add("train", 20)
    first.save()
    second = Durations(tmp_path / "durations.json")
    assert second.known("train") == 15
    second.add("train", 3)
    assert second.known("train") == 3  # what this run measured comes first
    second.save()
    assert Durations(tmp_path / "durations.json").known("train") == 11


def test_a_kind_never_measured_is_expected_to_be_like_the_others(tmp_path: Path):
    found = Durations()
    assert found.known("attack") is None
    assert found.expected("attack") == 1
    found.add("train", 10)
    assert found.expected("attack") == 10


def test_a_damaged_file_costs_estimates_only(tmp_path: Path):
    path = tmp_path / "durations.json"
    path.write_text('{"train": "long"}')
    assert Durations(path).known("train") is None


def test_on_a_machine_that_is_slower_now_all_that_is_left_takes_longer(tmp_path: Path):
    now = remembering(tmp_path / "durations.json", train=10, read=4)
    now.add("train", 99)
    assert now.known("train") == 99
    assert now.known("read") == pytest.approx(4 * 100 / 11)
    assert now.expected("attack", 2) == pytest.approx(2 * 100 / 11)
    now.save()
    assert Durations(tmp_path / "durations.json").known("read") == 4, "what is remembered is what was measured"


def test_a_guess_that_was_wrong_mends_the_others():
    found = Durations()
    found.add("attack a", 20, 2)
    assert found.expected("attack b", 2) == pytest.approx(2 * 21 / 3)


def test_a_short_step_says_little(tmp_path: Path):
    now = remembering(tmp_path / "durations.json", photos=0.01, train=10)
    now.add("photos", 0.2)
    assert now.known("train") == pytest.approx(10 * 1.2 / 1.01)
