"""How a worker process ends, whatever it is doing then: silently, soon, and without half-written files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from worker_tasks import EndedAtItsEnd, EndedInAFinaliser, EndedInALibrary, EndedWhileItRemoves, Sleeps, forgets_a_fault

from benchmark.interfaces import FaceVeilError
from benchmark.runtime import pools
from benchmark.runtime.pools import Processes


@dataclass(frozen=True)
class Worker:
    """A worker process whose errors are heard."""

    process: subprocess.Popen[str]
    channel: Connection
    lifeline: int

    def run(self, task: Callable[[], Any]) -> None:
        self.channel.send(({}, task))

    def ended(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture
def worker():
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark.runtime.worker", str(theirs.fileno()), str(read)],
        pass_fds=(theirs.fileno(), read),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stderr=subprocess.PIPE,
        text=True,
    )
    theirs.close()
    os.close(read)
    channel = Connection(ours.detach())
    yield Worker(process, channel, write)
    channel.close()
    os.close(write)
    process.kill()
    process.communicate()


def test_a_signal_while_a_block_removes_its_own_skips_nothing(worker: Worker, tmp_path: Path) -> None:
    worker.run(EndedWhileItRemoves(tmp_path / "half"))
    assert worker.ended() == (1, "")
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_it_ends_skips_nothing(worker: Worker, tmp_path: Path) -> None:
    worker.run(EndedAtItsEnd(tmp_path / "done"))
    worker.channel.recv()
    worker.channel.close()
    assert worker.ended() == (0, "")
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("task", [EndedInAFinaliser, EndedInALibrary])
def test_a_signal_that_gets_lost_ends_it_all_the_same(worker: Worker, tmp_path: Path, task: Any) -> None:
    worker.run(task(tmp_path / "half"))
    assert worker.ended() == (1, "")
    assert list(tmp_path.iterdir()) == []


def test_signals_at_every_moment_of_its_end_are_not_heard_of(worker: Worker, tmp_path: Path) -> None:
    worker.run(Sleeps(tmp_path / "a"))
    while worker.channel.recv()[0] != "done":
        pass
    worker.channel.close()
    while worker.process.poll() is None:
        worker.process.send_signal(signal.SIGTERM)
    code, said = worker.ended()
    assert (code in (0, 1), said) == (True, "")


def test_a_real_fault_is_still_told(worker: Worker) -> None:
    worker.run(forgets_a_fault)
    assert worker.channel.recv()[0] == "done"
    worker.process.send_signal(signal.SIGTERM)
    code, said = worker.ended()
    assert code == 1
    assert "ValueError: of a finaliser" in said
    assert "ValueError: while it ends" in said
    assert "SystemExit" not in said


def test_a_worker_that_ends_in_the_middle_of_its_answer_is_lost_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "ATTEMPTS", 1)
    pool = Processes(1)
    try:
        pool.start(0, forgets_a_fault)
        (mine,) = pool._workers
        ours, theirs = socket.socketpair()
        mine.channel.close()
        mine.channel = Connection(ours.detach())
        theirs.sendall(b"\0\0\0\x64half")
        theirs.close()
        (found,) = pool.wait(10)
        assert isinstance(found.error, FaceVeilError)
    finally:
        pool.close()
