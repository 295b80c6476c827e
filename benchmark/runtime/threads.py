"""How many cores there are, and one thread a process unless the user asks for more.

Several one-thread processes use a machine fully whatever else runs on it.  The threads of one process wait for each other after
every short operation: beside other work they burn several times the processor time and finish later.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS")
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_set_here = False  # the variables hold this module's default, not the user's wish


def one_thread_by_default() -> None:
    """Sets the thread variables that the numeric libraries read when they are first imported.

    Does nothing where the user has set one of :data:`VARIABLES`.  Where torch has been imported already, as in a notebook, its
    own number is lowered.
    """
    global _set_here
    if any(os.environ.get(name) for name in VARIABLES):
        return
    _set_here = True
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def threads_per_process() -> int:
    """Threads that the numeric libraries use in this process and in those it starts: 1, or what the user has set."""
    for name in VARIABLES:
        first = os.environ.get(name, "").split(",")[0].strip()  # OpenMP allows a list, one number a nesting level
        if first.isdecimal():
            return max(1, int(first))
    return 1


def own_threads() -> int:
    """Threads that this process may start for work of its own, such as decoding photos: every core where it is on its own."""
    return cores() if _set_here else threads_per_process()


def cores() -> int:
    """Processor cores that this process may use: its affinity mask, less where a container's quota allows less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, _quota() or allowed)


def _quota() -> int | None:
    """Whole cores that the control group of this container may use (cgroup v2); None without a limit."""
    try:
        quota, period = _CPU_MAX.read_text(encoding="ascii").split()
        return None if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return None
