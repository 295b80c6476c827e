"""Estimates follow what was measured, here and before."""

from __future__ import annotations

from pathlib import Path

from benchmark.runtime.durations import Durations


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
