from __future__ import annotations

from attacks.head_memory import HeadMemory
from benchmark.cli.head_memory import show_memory
from benchmark.records.results import Metric


def test_the_table_sets_the_head_beside_the_regrown_one(capsys):
    auc = {"n": 250, "unit": "people"}
    found = HeadMemory(
        people=250, photos=4, heads=16, epochs=6, lr=0.01, seed=0,
        plain=Metric(value=0.961, low=0.95, high=0.97, **auc),
        lira=Metric(value=0.992, low=0.99, high=0.995, **auc),
        regrown=Metric(value=0.494, low=0.48, high=0.51, **auc),
    )  # fmt: skip
    show_memory(found)
    text = capsys.readouterr().out
    assert "0.992" in text
    assert "0.494" in text
    assert "its own memory" in text
