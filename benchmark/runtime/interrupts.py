"""Signals that end a process: by an exception where Python runs, without one where a library does not return."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from benchmark.runtime.unfinished import remove_unfinished

INTERRUPTED = "interrupted; run the same command again to resume."
TERMINATED = 143
_RETURNS = 1.0  # seconds that a library has to return to Python, such as from the backward pass of a large network
_TIDIES = 10.0  # seconds that a process has to leave its blocks, unless something swallowed the exception
_TWICE = 1.0  # seconds within which a second signal is the first: terminals and launchers both send it


_ending: _Ending | None = None


def leave(code: int) -> NoReturn:
    """Ends this process as Python does, but keeps its modules: taking torch's apart takes seconds.

    A signal changes nothing more, unless it comes a second later: then what is left for the end hangs.
    """
    _hear_no_more()
    remove_unfinished()  # a signal may have come while a block removed its own
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def _hear_no_more() -> None:
    began = time.monotonic()

    def end(*_: object) -> None:
        if time.monotonic() - began > _TWICE:
            os._exit(1)

    with contextlib.suppress(ValueError):  # not in the main thread: signals are not heard here
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, end)


@contextmanager
def unheard_by_children() -> Iterator[None]:
    """Processes started in the block never hear Ctrl-C, not even while they start: who started them ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def ending_soon() -> Iterator[None]:
    """While open, SIGINT raises KeyboardInterrupt and SIGTERM SystemExit, so that what is half-written is removed.

    Where a library does not return to Python, or something swallows the exception, the process ends without it.  So it does
    at a second signal.  Handlers of others, and signals that are ignored, stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _ending
    before, _ending = _ending, _Ending()
    _ending.begin()
    try:
        yield
    finally:
        _ending.close()
        _ending = before


def raise_again() -> None:
    """Raises the exception of a signal once more, for handlers of any error: pydantic's serializers make an error of it."""
    if _ending is not None and _ending.number is not None:
        raise _exception(_ending.number)


def _exception(number: int) -> BaseException:
    return SystemExit(TERMINATED) if number == signal.SIGTERM else KeyboardInterrupt()


class _Ending:
    """The handlers, and a thread that hears of a signal even while the main thread is in a library."""

    def __init__(self) -> None:
        self._heard, self._told = socket.socketpair()
        self._begun = threading.Event()
        self._since = 0.0
        self.number: int | None = None  # of the signal that came
        self._handlers: dict[int, Any] = {}

    def begin(self) -> None:
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        for number, handler in usual.items():
            if signal.getsignal(number) is handler:
                self._handlers[number] = signal.signal(number, self._raise)
        self._told.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True, name="signals").start()

    def close(self) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._told.close()  # ends the thread

    def _raise(self, number: int, _frame: object) -> None:
        now = time.monotonic()
        if self.number is None:
            self.number, self._since = number, now
            self._begun.set()
            raise _exception(number)
        if now - self._since > _TWICE:
            _end()

    def _watch(self) -> None:
        with self._heard:
            while numbers := self._heard.recv(64):
                if any(signal.getsignal(number) == self._raise for number in numbers):
                    break
            else:
                return
            if not self._begun.wait(_RETURNS):
                _end()
            self._heard.settimeout(_TIDIES)
            with contextlib.suppress(TimeoutError):
                while self._heard.recv(64):
                    pass
                return
            _end()


def _end() -> NoReturn:
    """Ends this process without leaving its blocks; what they would have removed is removed."""
    remove_unfinished()
    with contextlib.suppress(OSError):
        os.write(2, f"\n{INTERRUPTED}\n".encode())
    os._exit(1)
