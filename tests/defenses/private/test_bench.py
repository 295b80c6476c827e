from __future__ import annotations

import pytest

from defenses.private import bench
from defenses.private.bench import measure


def test_all_ways_take_turns_and_are_compared_with_the_plain_one(monkeypatch):
    taken, clock = [], iter(range(10**6))
    step = bench._step

    def spied(way, *args):
        inner = step(way, *args)

        def run() -> None:
            taken.append(way)
            inner()
            if way == "hooks":
                next(clock)  # a second more than the plain step

        return run

    monkeypatch.setattr(bench, "_step", spied)
    monkeypatch.setattr(bench.time, "perf_counter", lambda: float(next(clock)))
    timings = {t.way: t for t in measure("iresnet_slim", 16, 2, people=5, views=2, repetitions=3)}
    assert taken == ["plain", "ghost", "hooks"] * 4, "a round to warm up, and three that count"
    assert timings["plain"].relative == timings["ghost"].relative == 1
    assert timings["hooks"].relative == pytest.approx(2)
    assert timings["hooks"].seconds == pytest.approx(2)
    assert {t.repetitions for t in timings.values()} == {3}
    assert all(t.peak_memory_mb is None for t in timings.values())
