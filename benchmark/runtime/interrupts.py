"""Ctrl-C that first asks and then stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def graceful_interrupt(on_status: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """While open, the first Ctrl-C only makes what is given out say True; the second interrupts as ever.

    Outside a program's main thread, where Python delivers no signals, nothing changes.

    Args:
        on_status: called at the first one, to say so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def on_interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        asked.set()
        on_status()

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
