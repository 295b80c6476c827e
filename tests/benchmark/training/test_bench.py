"""The same small training alone and beside busy processes, which end when it is done."""

from __future__ import annotations

import subprocess

from benchmark.training import bench


def test_every_way_is_timed_and_busy_processes_end(monkeypatch):
    started: list[subprocess.Popen] = []
    popen = subprocess.Popen
    monkeypatch.setattr(bench.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    with bench.busy_processes(2):
        assert [p.poll() for p in started] == [None, None]
    assert all(p.poll() is not None for p in started)


def test_alone_and_beside(monkeypatch):
    monkeypatch.setattr(bench, "_in_a_process", lambda threads, *_: (2.0 * threads, 3.0 * threads))
    found = bench.measure_busy(1, steps=1, size=32, batch=2, threads=(1, 2))
    assert [(t.threads, t.busy, t.relative, t.cpu_relative) for t in found] == [
        (1, 0, 1, 1),
        (2, 0, 2, 2),
        (1, 1, 1, 1),
        (2, 1, 2, 2),
    ]
    assert found[-1].way == "2 threads, beside 1 busy"


def test_the_training_runs_and_is_timed():
    seconds, processor = bench.train(1, 32, 4)
    assert processor > 0
    assert seconds > 0
