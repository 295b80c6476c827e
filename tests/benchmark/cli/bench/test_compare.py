"""Two documents of a bench command: ratios of what was measured, and which settings differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import document, run

from benchmark.cli.bench.compare import leaves
from benchmark.interfaces import FaceVeilError


def written(path: Path, seconds: list[float], photos: int = 128) -> Path:
    timings = [{"way": way, "seconds": s} for way, s in zip(("plain", "fast"), seconds, strict=True)]
    path.write_text(json.dumps({"photos": photos, "timings": timings}))
    return path


def test_rows_are_matched_by_their_names():
    assert dict(leaves({"a": {"b": 1}, "rows": [{"way": "plain", "s": 2.0}, {"s": 3.0}]})) == {
        "a.b": 1, "rows[plain].way": "plain", "rows[plain].s": 2.0, "rows[1].s": 3.0,
    }  # fmt: skip


def test_ratios_and_settings_that_differ(tmp_path: Path):
    old, new = written(tmp_path / "old.json", [2.0, 1.0]), written(tmp_path / "new.json", [2.0, 0.25], photos=256)
    found = document("bench", "compare", old, new)
    assert {r["what"]: r["ratio"] for r in found["measured"]} == {"timings[plain].seconds": 1.0, "timings[fast].seconds": 0.25}
    assert found["settings_that_differ"] == {"photos": [128, 256]}


@pytest.mark.parametrize("text", ["no json", '{"other": 1.5}'])
def test_what_cannot_be_compared_is_refused(text: str, tmp_path: Path):
    (tmp_path / "odd.json").write_text(text)
    with pytest.raises(FaceVeilError, match=r"odd\.json"):
        run("bench", "compare", written(tmp_path / "old.json", [1.0, 2.0]), tmp_path / "odd.json")
