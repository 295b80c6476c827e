"""Signals that end a process, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.runtime.interrupts import INTERRUPTED, ending_soon

BEGIN = """
import atexit, ctypes, os, signal, sys, time
from pathlib import Path
from benchmark.runtime.interrupts import ending_soon, leave, unheard_by_children
from benchmark.runtime.unfinished import removed_at_the_end
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
place = Path(sys.argv[1])
def ready():
    (place / "ready").touch()
"""
WRITES = """
with ending_soon(), removed_at_the_end(place / "half"):
    (place / "half").touch()
"""


def started(code: str, place: Path) -> subprocess.Popen[str]:
    """A process that has said it is ready."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + code, str(place)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (place / "ready").exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "SystemExit")])
def test_a_signal_is_an_exception_where_python_runs(tmp_path: Path, number: signal.Signals, raised: str) -> None:
    code = (
        WRITES
        + "    try:\n        ready(); time.sleep(600)\n    except BaseException as error:\n        print(type(error).__name__)"
    )
    process = started(code, tmp_path)
    process.send_signal(number)
    assert ended(process) == (0, f"{raised}\n", "")
    assert not (tmp_path / "half").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_library_that_does_not_return_is_not_waited_for(tmp_path: Path, number: signal.Signals) -> None:
    """One call of C, as the backward pass of a large network is."""
    code = (
        WRITES
        + """
    lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, (ctypes.c_long * 16)()
    lock(mutex); ready(); lock(mutex)  # it waits for itself, whatever signals come
"""
    )
    process = started(code, tmp_path)
    process.send_signal(number)
    code_, _, said = ended(process)
    assert code_ == 1
    assert INTERRUPTED in said
    assert not (tmp_path / "half").exists()


def test_a_signal_twice_at_once_is_one_and_later_it_ends_the_process(tmp_path: Path) -> None:
    code = (
        WRITES
        + """
    try:
        ready(); time.sleep(600)
    finally:
        (place / "ready").unlink()
        begun = time.monotonic()
        while time.monotonic() < begun + 0.5: time.sleep(0.01)
        (place / "tidied").touch()
        time.sleep(600)
"""
    )
    process = started(code, tmp_path)
    process.send_signal(signal.SIGINT)
    while (tmp_path / "ready").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    while not (tmp_path / "tidied").exists():
        assert process.poll() is None, "what tidies up was broken off"
        time.sleep(0.01)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 1
    assert not (tmp_path / "half").exists()


def test_leaving_runs_what_was_left_for_the_end_and_writes_what_was_printed(tmp_path: Path) -> None:
    code = "atexit.register(lambda: print('at the end'))\nprint('before')\nready()\nleave(3)"
    assert ended(started(code, tmp_path)) == (3, "before\nat the end\n", "")


def test_children_do_not_hear_what_their_parent_hears(tmp_path: Path) -> None:
    code = """
import subprocess
with unheard_by_children():
    child = subprocess.Popen([sys.executable, "-c", "import time; print('lives', flush=True); time.sleep(2); print('on')"])
time.sleep(1)
try:
    ready(); time.sleep(600)
except KeyboardInterrupt:
    sys.exit(child.wait())
"""
    process = started(code, tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    assert ended(process) == (0, "lives\non\n", "")


def test_handlers_of_others_and_ignored_signals_stay() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with ending_soon():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with ending_soon():
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
