"""``faceveil quickstart --fast``, as a stranger runs it."""

from __future__ import annotations

import json
import time

import pytest
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.cli.quickstart import ENTRIES, entry_folder
from benchmark.protocol.registry import build_defense
from benchmark.service.store import Store


def test_entries_can_be_built_and_stand_apart(fresh_home):
    for spec in ENTRIES:
        build_defense(spec)
    folders = {entry_folder("synthetic-smoke", spec, seed) for spec in ENTRIES for seed in (0, 1)}
    assert len(folders) == 2 * len(ENTRIES) == 8


@pytest.mark.slow
def test_fast_quickstart_ranks_four_entries_and_concludes_nothing(fresh_home):
    started = time.perf_counter()
    first = CliRunner().invoke(app, ["quickstart", "--fast", "--json", "--device", "cpu"])
    print(f"quickstart --fast: {time.perf_counter() - started:.1f} s")
    assert first.exit_code == 0, first.stderr
    result = json.loads(first.stdout)
    assert result["track"] == "synthetic-smoke"
    assert result["conclusive"] is False
    assert len(result["ranking"]) == 4
    assert all(row["rank"] is not None for row in result["ranking"])
    records = Store().records("synthetic-smoke")
    assert len(records) == 4
    assert all(r.complete and r.board == "verified" and r.extra["smoke"] for r in records)

    second = CliRunner().invoke(app, ["quickstart", "--fast", "--device", "cpu"])
    assert second.exit_code == 0, second.stderr
    assert "smoke run: too few people to conclude anything from" in " ".join(second.stdout.split())
    assert "training" not in second.stderr, "what the first run made is used again"
    assert [r.fingerprint for r in Store().records("synthetic-smoke")] == [r.fingerprint for r in records]
