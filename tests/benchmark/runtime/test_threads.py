"""One thread a process unless the user asks for more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmark.runtime import threads

SHOW = (
    "import {first}; import torch, {second}; from benchmark.runtime.threads import own_threads; "
    "print(torch.get_num_threads(), own_threads())"
)


def shown(first: str = "benchmark", second: str = "benchmark", **variables: str) -> list[int]:
    """torch's threads and this process's own, in a fresh process."""
    clean = {k: v for k, v in os.environ.items() if k not in threads.VARIABLES}
    code = SHOW.format(first=first, second=second)
    ran = subprocess.run(
        [sys.executable, "-c", code], env=clean | variables, capture_output=True, text=True, check=True, timeout=120
    )
    return [int(n) for n in ran.stdout.split()]


@pytest.mark.parametrize("first", ["benchmark", "torch"])
def test_a_process_has_one_thread_whichever_is_imported_first(first: str) -> None:
    assert shown(first) == [1, threads.cores()]


@pytest.mark.skipif(threads.cores() < 2, reason="torch starts no more threads than there are cores")
def test_what_the_user_set_stands() -> None:
    assert shown(OMP_NUM_THREADS="2") == [2, 2]


def test_a_list_of_nesting_levels_counts_by_its_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    assert threads.threads_per_process() == 3


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 8)]
)
def test_a_containers_quota_limits_the_cores(text: str, cores: int, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(threads, "_CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)
    assert threads.cores() == cores
