from __future__ import annotations

from pathlib import Path

from benchmark.data.bench import measure


def test_every_figure_is_measured(tmp_path: Path) -> None:
    found = measure(tmp_path, 600, size=32, sample=300)
    assert found.records == 600
    assert found.raw_decode > 0
    assert found.shuffled > 0
    assert found.share > 0
    assert found.opened_first > 0
