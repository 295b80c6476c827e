from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmark.runtime import memory
from benchmark.runtime.memory import PeakMemory, freed_memory_kept, peak_memory, process_peak

linux = pytest.mark.skipif(not memory._RESET.exists(), reason="only Linux lets a process reset its high-water mark")


def hold(megabytes: int) -> float:
    return float(np.ones(megabytes * 2**17).sum())


def hold_small(arrays: int) -> None:
    """As small as those that the allocator keeps for itself when they are freed."""
    kept = [np.ones(2**12) for _ in range(arrays)]
    del kept


def measured(step: Callable[[], object], times: int = 3) -> PeakMemory:
    """The largest of some: the system may take pages of idle libraries back meanwhile, which lowers the growth."""
    found = []
    for _ in range(times):
        with peak_memory() as one:
            step()
        found.append(one)
    return max(found, key=lambda one: one.mb)


@linux
def test_a_small_step_after_a_large_one_is_small():
    large = measured(lambda: hold(96))
    with peak_memory() as small:
        hold(4)
    assert large.measure == small.measure == "growth"
    assert 90 < large.mb < 130
    assert small.mb < 40


@linux
def test_memory_that_was_freed_before_counts_again():
    hold_small(2000)
    assert measured(lambda: hold_small(2000)).mb > 16, "of 64; the system may take some back meanwhile"


@linux
def test_the_process_s_own_peak_is_not_forgotten():
    with peak_memory():
        hold(64)
    before = process_peak()
    with peak_memory():
        hold(1)
    assert process_peak() >= before


@linux
def test_a_step_that_fails_is_measured_and_its_error_goes_on():
    found: list[PeakMemory] = []

    def fail() -> None:
        with peak_memory() as one:
            found.append(one)
            raise ValueError(f"broken at {hold(64)}")

    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            fail()
    assert max(one.mb for one in found) > 60


def test_without_a_mark_to_reset_only_a_new_peak_is_seen(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_RESET", tmp_path / "absent" / "clear_refs")
    with peak_memory() as found:
        pass
    assert (found.mb, found.measure) == (0.0, "beyond_peak")
    peaks = iter([100.0, 100.0, 130.0])
    monkeypatch.setattr(memory, "process_peak", lambda: next(peaks))
    with peak_memory() as found:
        pass
    assert (found.mb, found.measure) == (30.0, "beyond_peak")


_USED_AGAIN = """
import resource
import numpy as np
from benchmark.runtime import memory

def hold():
    np.ones(2**20).sum()  # 8 MB

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        [np.ones(2**15) for _ in range(32)]  # small enough for no huge pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with memory.freed_memory_kept():
    with memory.freed_memory_kept():
        [np.ones(2**15) for _ in range(64)]
    hold()
    kept = faults()
    held = memory._status("VmRSS")
print(kept, held - memory._status("VmRSS"))
"""


@linux
def test_what_a_block_frees_is_used_again_by_it_and_given_back_at_its_end():
    """In a process of its own: where freed memory goes depends on all that a process has done before."""
    path = {"PYTHONPATH": str(Path(memory.__file__).parents[2])}
    said = subprocess.run(
        [sys.executable, "-c", _USED_AGAIN], env=os.environ | path, capture_output=True, text=True, check=True
    )
    kept, given_back = map(float, said.stdout.split())
    assert kept < 1000, "pages; 8 MB are 2,048, asked for anew each time they are 40,960"
    assert given_back > 8


def test_a_failing_block_does_not_keep_memory_for_ever():
    with pytest.raises(ValueError, match="inside"), freed_memory_kept():
        raise ValueError("inside")
    assert not memory._keeping


def test_what_the_user_has_set_for_the_allocator_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    monkeypatch.setattr(memory, "_allocator", lambda *_call: pytest.fail("the user's setting was changed"))
    with freed_memory_kept():
        hold(1)
