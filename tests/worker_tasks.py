"""Tasks for worker processes, which import them from here: a test file is no module that they could find."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from benchmark.interfaces import FaceVeilError
from benchmark.runtime import worker
from benchmark.runtime.unfinished import removed_at_the_end


@dataclass(frozen=True)
class Note:
    """Writes the number of its process; picklable, as tasks must be."""

    path: Path
    fails: bool = False

    def __call__(self) -> None:
        if self.fails:
            raise FaceVeilError(f"task {self.path.name} failed")
        with self.path.open("a") as file:
            file.write(f"{os.getpid()}\n")


@dataclass(frozen=True)
class DiesOnce:
    """Kills its own process the first time, or every time."""

    path: Path
    always: bool = False

    def __call__(self) -> int:
        if self.always or not self.path.exists():
            self.path.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()


@dataclass(frozen=True)
class Sleeps:
    """Writes the number of its process, then sleeps."""

    path: Path
    seconds: float = 0.0

    def __call__(self) -> str:
        worker.note("half way")
        self.path.write_text(str(os.getpid()))
        time.sleep(self.seconds)
        return self.path.name


class Odd(Exception):
    """An error that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("odd")
        self.hook = lambda: None


def raises_odd() -> None:
    raise Odd


def visible_gpus() -> str:
    """Which GPUs this process may use, as CUDA reads it."""
    time.sleep(0.5)  # so that tasks stand side by side
    return os.environ.get("CUDA_VISIBLE_DEVICES", "")


def _told_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@dataclass(frozen=True)
class EndedWhileItRemoves:
    """Is told to end in the middle of removing its half-written folder."""

    path: Path

    def __call__(self) -> None:
        real = shutil.rmtree

        def rmtree(path: Path, **settings: bool) -> None:
            shutil.rmtree = real
            (self.path / "a").unlink()
            _told_to_end()
            real(path, **settings)

        shutil.rmtree = rmtree  # type: ignore[assignment]
        with removed_at_the_end(self.path) as folder:
            folder.mkdir()
            for name in ("a", "b"):
                (folder / name).touch()


@dataclass(frozen=True)
class EndedAtItsEnd:
    """Leaves something to be done when the process ends, which is told to end then."""

    path: Path

    def __call__(self) -> None:
        atexit.register(self.path.touch)
        atexit.register(_told_to_end)


class _Finaliser:
    def __del__(self) -> None:
        _told_to_end()
        time.sleep(0)  # where the signal is heard


@dataclass(frozen=True)
class EndedInAFinaliser:
    """Is told to end where Python drops exceptions, and goes on."""

    path: Path

    def __call__(self) -> None:
        with removed_at_the_end(self.path) as path:
            path.touch()
            _Finaliser()
            time.sleep(600)


@dataclass(frozen=True)
class EndedInALibrary:
    """Is told to end, and then calls what does not return."""

    path: Path

    def __call__(self) -> None:
        lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, (ctypes.c_long * 16)()
        with removed_at_the_end(self.path) as path:
            path.touch()
            try:
                _told_to_end()
                time.sleep(600)
            finally:
                lock(mutex)
                lock(mutex)  # it waits for itself


class _Faulty:
    def __init__(self, what: str) -> None:
        self.what = what

    def __del__(self) -> None:
        raise ValueError(self.what)


def _faulty_end() -> None:
    _Faulty("while it ends")


def forgets_a_fault() -> None:
    """Leaves a fault in a finaliser, and another for the end."""
    atexit.register(_faulty_end)
    _Faulty("of a finaliser")
