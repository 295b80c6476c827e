"""A worker process: runs the tasks that it is sent, one after the other, and ends with the process that started it.

Started as ``python -m benchmark.runtime.worker`` rather than through :mod:`multiprocessing`, so that a user's script needs no
``if __name__ == "__main__"`` and is not run a second time.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing.connection import Connection
from typing import Any

from benchmark.runtime.interrupts import leave
from benchmark.runtime.memory import freed_memory_kept
from benchmark.runtime.progress import ProgressCallback, TrainingProgress
from benchmark.runtime.unfinished import remove_unfinished

_LINGER = 0.5  # seconds that a task has to clean up after its files once it is told to end

_channel: Connection | None = None
_listener: ContextVar[ProgressCallback | None] = ContextVar("listener", default=None)


def note(text: str) -> None:
    """Tells the user how far the task is that this process runs, such as ``epoch 3/20``; does nothing outside a worker."""
    if _channel is not None:
        _channel.send(("note", text))


def note_epoch(report: TrainingProgress) -> None:
    """Tells the user of a finished epoch: through the parent, or in the parent itself whoever hears epochs."""
    if (listener := _listener.get()) is not None:
        listener(report)
    note(f"epoch {report.epoch}/{report.epochs}")


@contextmanager
def hearing_epochs(listener: ProgressCallback | None) -> Iterator[None]:
    """Gives ``listener`` the finished epochs of tasks that run in this very process; an error of its own ends the task."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def main(connection: int, lifeline: int) -> None:
    """Serves until the parent closes the connection, or dies.

    Args:
        connection, lifeline: file descriptors: tasks and results pass through the one, the other closes with the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what becomes of it
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()
    os.dup2(2, 1)  # standard output belongs to the parent's document
    code = 1
    try:
        _serve(connection)
        code = 0
    except (BrokenPipeError, ConnectionResetError):  # nobody is there to take the result
        pass
    except Exception:
        traceback.print_exc()
    finally:
        leave(code)


def _end(*_: object) -> None:
    """Ends the process by an exception, so that half-written files are removed; once, for the parent may tell it twice.

    Where the exception gets lost, as in a finaliser, and where a library does not return, the process ends all the same.
    """
    sys.unraisablehook = _lost
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_linger, daemon=True).start()
    sys.exit(1)


def _lost(error: sys.UnraisableHookArgs) -> None:
    """Tells of errors that Python cannot raise, but for that of the signal itself, and for one that came beside it."""
    beside = isinstance(error.exc_value, OSError) and "ignored due to race condition" in str(error.exc_value)
    if not beside and not issubclass(error.exc_type, SystemExit):
        sys.__unraisablehook__(error)


def _linger() -> None:
    time.sleep(_LINGER)
    remove_unfinished()
    os._exit(1)


def _serve(connection: int) -> None:
    global _channel
    channel = _channel = Connection(connection)
    while True:
        try:
            environment, task = channel.recv()
        except EOFError:
            return
        except Exception as error:  # a task of a module that is not known here
            channel.send(("failed", *_picklable(error), 0.0, 0.0))
            continue
        os.environ.update(environment)
        channel.send(_outcome(task))


def _outcome(task: Callable[[], Any]) -> tuple[Any, ...]:
    started, processor = time.perf_counter(), time.process_time()
    try:
        with freed_memory_kept():
            value = task()
        pickle.dumps(value)
        found: tuple[Any, ...] = ("done", value, "")
    except Exception as error:
        found = ("failed", *_picklable(error))
    return (*found, time.perf_counter() - started, time.process_time() - processor)


def _picklable(error: Exception) -> tuple[Exception, str]:
    """The error, or one of its text where it cannot travel; and where it happened."""
    where = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return error, where


def _watch(lifeline: int) -> None:
    """Ends this process once the parent is gone, however it went."""
    os.read(lifeline, 1)  # returns when the other end closes
    os.kill(os.getpid(), signal.SIGTERM)
    _linger()  # a library that does not return keeps the signal waiting


if __name__ == "__main__":
    from benchmark.runtime import worker  # the module that tasks know, not this one called __main__

    worker.main(int(sys.argv[1]), int(sys.argv[2]))
