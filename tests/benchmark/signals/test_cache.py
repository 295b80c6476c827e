from __future__ import annotations

import errno
import sys

import numpy as np
import pytest

from benchmark.runtime import unfinished
from benchmark.runtime.memory import peak_memory
from benchmark.signals.cache import SignalFiles


@pytest.fixture
def files(tmp_path) -> SignalFiles:
    return SignalFiles(tmp_path / "signals", {"a": "first", "b": "second"})


@pytest.mark.parametrize("on_disk", [True, False])
def test_rows_are_read_as_they_were_written_in_any_order(tmp_path, on_disk):
    files = SignalFiles(tmp_path if on_disk else None, {"a": "first", "b": "second"})
    a, b = np.random.default_rng(0).standard_normal((5, 3)), np.arange(10.0).reshape(5, 2, 1)
    with files.writing(5) as write:
        for start, stop in ((3, 5), (0, 3)):
            write("a", start, a[start:stop])
            write("b", start, b[start:stop])
    np.testing.assert_array_equal(files.read("a"), a.astype(np.float32))
    np.testing.assert_array_equal(files.read("b"), b.astype(np.float32))
    assert files.read("a").dtype == np.float32
    assert files.has("a") == on_disk


def test_what_was_not_finished_leaves_nothing(files, tmp_path):
    def fail() -> None:
        with files.writing(4) as write:
            write("a", 0, np.ones((2, 3)))
            raise ValueError("interrupted")

    with pytest.raises(ValueError, match="interrupted"):
        fail()
    assert not files.has("a")
    assert not list((tmp_path / "signals").iterdir())


def test_a_disk_that_is_full_at_the_very_end_leaves_nothing_half_written(files, tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def fail() -> None:
        with files.writing(2) as write:
            for key in ("a", "b"):
                write(key, 0, np.ones((2, 3)))
            monkeypatch.setattr(unfinished.tempfile, "mkstemp", full)

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert not list((tmp_path / "signals").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="a step's own memory is seen on Linux alone")
def test_memory_does_not_grow_with_the_number_of_photos(files):
    rows = np.ones((128, 1024), np.float32)
    with peak_memory() as memory, files.writing(128 * 128) as write:
        for number in range(128):
            write("a", 128 * number, rows)
    assert files.read("a").nbytes == 2**26
    assert memory.mb < 20
