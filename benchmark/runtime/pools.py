"""Where tasks run: in this process, or in worker processes on this machine.  (On a Ray cluster: :mod:`.ray_cluster`.)"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.graph import Task
from benchmark.runtime.interrupts import unheard_by_children
from benchmark.runtime.memory import freed_memory_kept

ROOT = str(Path(__file__).parents[2])
ATTEMPTS = 3  # processes that may die over one task before it is taken for the cause
PATIENCE = 1.0  # seconds that a busy worker has to end


@dataclass(frozen=True)
class Finished:
    """What became of a task."""

    number: int
    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    processor_seconds: float = 0.0


class Pool(Protocol):
    """Runs tasks that are known by numbers.  ``notes`` holds what running tasks said last of how far they are."""

    notes: dict[int, str]

    @property
    def slots(self) -> int: ...

    def start(self, number: int, task: Task) -> None: ...

    def wait(self, timeout: float) -> list[Finished]: ...

    def close(self) -> None: ...


class ThisProcess:
    """One task at a time, here."""

    slots = 1

    def __init__(self) -> None:
        self._finished: list[Finished] = []
        self.notes: dict[int, str] = {}

    def start(self, number: int, task: Task) -> None:
        started, processor = time.perf_counter(), time.process_time()
        value, error = None, None
        try:
            with freed_memory_kept():
                value = task()
        except Exception as failure:
            error = failure
        self._finished.append(Finished(number, value, error, time.perf_counter() - started, time.process_time() - processor))

    def wait(self, timeout: float) -> list[Finished]:  # noqa: ARG002
        found, self._finished = self._finished, []
        return found

    def close(self) -> None:
        pass


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    channel: Connection
    lifeline: int
    number: int | None = None  # of the task it runs
    task: bytes = b""

    def let_go(self) -> None:
        """Closes both ends: it has half a second to clean up, and is gone."""
        self.channel.close()
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1


@dataclass
class Processes:
    """Up to ``slots`` worker processes, started when first needed and kept for later tasks.

    A worker that dies costs its own task only, which another one runs again.
    """

    slots: int
    notes: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._workers: list[_Worker] = []
        self._deaths: dict[int, int] = {}

    def start(self, number: int, task: Task) -> None:
        self._give(number, pickle.dumps((_environment(), task)))

    def _give(self, number: int, task: bytes) -> None:
        worker = next((w for w in self._workers if w.number is None and w.process.poll() is None), None) or self._started()
        worker.number, worker.task = number, task
        with suppress(BrokenPipeError, ConnectionResetError):  # it has just died: `wait` finds the connection closed
            worker.channel.send_bytes(task)

    def _started(self) -> _Worker:
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        with theirs, unheard_by_children():
            # -P: the folder that the command is given in may hold files named like modules
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "benchmark.runtime.worker", str(theirs.fileno()), str(read)],
                pass_fds=(theirs.fileno(), read),
                stdin=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join([ROOT, *(p for p in sys.path if p and p != ROOT)])},
            )
        os.close(read)
        worker = _Worker(process, Connection(ours.detach()), write)
        self._workers.append(worker)
        return worker

    def wait(self, timeout: float) -> list[Finished]:
        busy = {w.channel: w for w in self._workers if w.number is not None}
        found = []
        for channel in wait(list(busy), timeout) if busy else ():
            worker = busy[channel]  # type: ignore[index]
            number = worker.number
            assert number is not None
            try:
                kind, *message = worker.channel.recv()
            except (EOFError, OSError):  # OSError: it was ended in the middle of a message
                found += self._lost(worker, number)
                continue
            if kind == "note":
                self.notes[number] = message[0]
                continue
            worker.number, worker.task = None, b""
            self.notes.pop(number, None)
            self._deaths.pop(number, None)
            value, where, seconds, processor = message
            if kind == "done":
                found.append(Finished(number, value, None, seconds, processor))
            else:
                value.add_note(f"in a worker process:\n{where}")
                found.append(Finished(number, None, value, seconds, processor))
        return found

    def _lost(self, worker: _Worker, number: int) -> list[Finished]:
        """A worker died over a task: another one tries, unless it was the last attempt."""
        task = worker.task
        code = self._forget(worker)
        self._deaths[number] = self._deaths.get(number, 0) + 1
        self.notes.pop(number, None)
        if self._deaths[number] < ATTEMPTS:
            self._give(number, task)
            return []
        del self._deaths[number]
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        reason = (
            f"{ATTEMPTS} worker processes in a row ended {how} on this step: if the machine is out of memory, "
            "use fewer --workers."
        )
        return [Finished(number, None, FaceVeilError(reason))]

    def _forget(self, worker: _Worker) -> int:
        worker.let_go()
        self._workers.remove(worker)
        try:
            return worker.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            return worker.process.wait()

    def close(self) -> None:
        """Ends all workers; what one is running is broken off."""
        for worker in self._workers:  # all before the first is waited for
            worker.process.terminate()
            worker.let_go()
        for worker in list(self._workers):
            self._forget(worker)


def _environment() -> dict[str, str]:
    """What may have changed since a worker began."""
    return {name: value for name, value in os.environ.items() if name.startswith("FACEVEIL_")}
