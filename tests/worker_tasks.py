"""Tasks for worker processes, which import them from here: a test file is no module that they could find."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from benchmark.interfaces import FaceVeilError
from benchmark.runtime import worker


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
