"""``faceveil quickstart --fast``, as a stranger runs it."""

from __future__ import annotations

import json
import time

import pytest
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.cli.quickstart import ENTRIES, FAST_TRACK, TRACK, entry_folder, told_reduction
from benchmark.protocol.registry import build_defense
from benchmark.protocol.tracks import get_track
from benchmark.service.store import Store


def test_entries_can_be_built_and_stand_apart(fresh_home):
    for spec in ENTRIES:
        build_defense(spec)
    folders = {entry_folder(FAST_TRACK, spec, seed) for spec in ENTRIES for seed in (0, 1)}
    assert len(folders) == 2 * len(ENTRIES) == 8


def test_the_tracks_are_reduced_and_named_so():
    fewer = {"pool": 360, "public": 300}
    for name, whole, people in ((TRACK, "synthetic-quick", fewer), (FAST_TRACK, "synthetic-smoke", {})):
        track = get_track(name)
        assert track.name == name != whole
        assert track.population < get_track(whole).population
        assert track.roles == get_track(whole).roles.model_copy(update=people)
        told = told_reduction(track)
        assert f"instead of {get_track(whole).population}, " in told
        assert ("people instead of" in told) == bool(people)


@pytest.mark.slow
def test_fast_quickstart_ranks_four_entries_and_concludes_nothing(fresh_home):
    started = time.perf_counter()
    first = CliRunner().invoke(app, ["quickstart", "--fast", "--json", "--device", "cpu"])
    print(f"quickstart --fast: {time.perf_counter() - started:.1f} s")
    assert first.exit_code == 0, first.stderr
    result = json.loads(first.stdout)
    assert result["track"] == FAST_TRACK
    assert result["conclusive"] is False
    assert "instead of 4" in result["reduced"]
    (table,) = result["tables"]
    assert {row["entry"].partition("(")[0] for row in table["entries"]} == {spec.name for spec in ENTRIES}
    assert all(row["utility"] and row["leakage"] for row in table["entries"])
    assert table["value_gate"]["gain"] is not None
    records = Store().records(FAST_TRACK)
    assert len(records) == 4
    assert all(r.complete and r.board == "verified" and r.extra["smoke"] for r in records)

    second = CliRunner().invoke(app, ["quickstart", "--fast", "--device", "cpu"])
    assert second.exit_code == 0, second.stderr
    assert "smoke run: too few people to conclude anything from" in " ".join(second.stdout.split())
    assert "training" not in second.stderr, "what the first run made is used again"
    assert [r.fingerprint for r in Store().records(FAST_TRACK)] == [r.fingerprint for r in records]
