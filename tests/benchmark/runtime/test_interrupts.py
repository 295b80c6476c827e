from __future__ import annotations

import os
import signal
import threading

import pytest

from benchmark.runtime.interrupts import graceful_interrupt


def test_the_first_asks_and_the_second_interrupts():
    told, before = [], signal.getsignal(signal.SIGINT)
    with graceful_interrupt(lambda: told.append(1)) as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGINT)
        assert asked()
        assert told == [1]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_are_left_alone():
    answers = []

    def work() -> None:
        with graceful_interrupt(lambda: None) as asked:
            answers.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
