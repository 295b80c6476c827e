"""Peak memory of one step of a process, apart from what the process held before it."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Measure = Literal["process", "growth", "beyond_peak"]

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_MB = 2.0**20
_TOO_LITTLE = re.compile(r"can't allocate memory|out of memory|Cannot allocate memory|not enough memory", re.IGNORECASE)
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of mallopt(3)
_ALLOCATOR_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
_keeping = False
_highest = 0.0  # of the process, before its mark was last reset


@dataclass
class PeakMemory:
    """What a step needed, in MB of 2^20 bytes of resident memory (the host's, not a GPU's).

    ``growth``: the most that the process held during the step above what it held at its start.  ``beyond_peak``: how far the
    step went beyond the highest that the process had ever held, 0 where it stayed below: all that can be seen where the
    system's mark cannot be reset (outside of Linux).
    """

    mb: float = 0.0
    measure: Measure = "growth"


@contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """Measures the block; the result is complete when it ends.  Blocks do not nest, and other threads are counted in.

    Memory that was freed before is handed back to the system first, so that a step which would have used it again is seen.
    The kernel's high-water mark is then reset by writing ``5`` to ``clear_refs``, see proc(5).
    """
    found = PeakMemory()
    start = _reset()
    if start is None:
        found.measure, start = "beyond_peak", process_peak()
    try:
        yield found
    finally:
        found.mb = max(0.0, process_peak() - start if found.measure == "beyond_peak" else _status("VmHWM") - start)


def process_peak() -> float:
    """The most memory that this process has held, in MB, whatever was measured in between."""
    unit = 1 if sys.platform == "darwin" else 1024
    return max(_highest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MB)


def _reset() -> float | None:
    """Puts the high-water mark back to what the process holds now, which is returned in MB; None where that is not allowed."""
    global _highest
    before = process_peak()
    _give_back()
    try:
        _RESET.write_text("5")
        start = _status("VmRSS")
    except OSError:
        return None
    _highest = before
    return start


def _status(name: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / _MB


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Lets the C library keep what the block frees, for the block's next allocations; all of it goes back at the end.

    Every layer of a network allocates some megabytes and frees them shortly after.  By default glibc asks the system for each
    such piece anew, which then has to be filled with zeros page by page: a sixth of the time of a training beside another one.
    Does nothing elsewhere, and where the user has set glibc's own variables; an inner block leaves the outer one as it is.
    """
    global _keeping
    if _keeping or any(name in os.environ for name in _ALLOCATOR_VARIABLES):
        yield
        return
    _keeping = True
    if not _allocator("mallopt", _MMAP_THRESHOLD, 2**30):  # refused by versions before 2.35
        _allocator("mallopt", _MMAP_THRESHOLD, 2**25)
    _allocator("mallopt", _TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        # What glibc's own adjustment arrives at in a process that has freed something large; it cannot be turned on again.
        _allocator("mallopt", _MMAP_THRESHOLD, 2**25)
        _allocator("mallopt", _TRIM_THRESHOLD, 2**26)
        _give_back()
        _keeping = False


def return_large_blocks() -> None:
    """From now on blocks of a megabyte and more go back to the system when they are freed: for a process that outlives them."""
    _allocator("mallopt", _MMAP_THRESHOLD, 2**20)


def _give_back() -> None:
    _allocator("malloc_trim", 0)


def _allocator(function: str, *numbers: int) -> int:
    """Calls a function of glibc's allocator; 0, which also says that it was refused, where there is no such function."""
    called = getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None
    return called(*numbers) if called is not None else 0


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice; torch says so by a RuntimeError, a loader by another."""
    if isinstance(error, ImportError | OSError):
        return getattr(error, "errno", None) == errno.ENOMEM or "failed to map segment" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_TOO_LITTLE.search(str(error))))


def limit_memory(limit: int | None = None) -> int | None:
    """Bounds the data of this process and of each that it starts, in bytes; what wants more fails, and the machine does not.

    Args:
        limit: default four fifths of the machine's memory.

    Returns:
        The limit, None where the system has none.
    """
    try:
        most = limit or int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 0.8)
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    except (OSError, ValueError):
        return None
    return most
