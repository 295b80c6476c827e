"""The check of a large RecordIO file: every record decoded once, by several processes, and what is unusable listed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import threading
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np

from benchmark.data.readers.images import PhotoError, inspect
from benchmark.data.readers.recordio import RecordSource, left_out_file
from benchmark.data.readers.scan import HASH_BYTES, Progress
from benchmark.runtime.atomic import write_text
from benchmark.runtime.interrupts import unheard_by_children

AT_ONCE = 512  # records a task: what is begun is waited for when the check is broken off

Examined = tuple[int, np.ndarray, np.ndarray, list[tuple[int, str]]]  # first position, hashes, shapes, problems

_source: RecordSource | None = None  # of a worker process


def check_records(
    source: RecordSource, *, workers: int = 1, progress: Progress | None = None
) -> tuple[dict[int, str], Counter[tuple[int, int]]]:
    """Decodes every record of a file, and lists those that cannot be used where :func:`open_records` finds them.

    Damaged records are unusable, and so is a record that repeats another one byte for byte.  Memory: 16 bytes a record.

    Returns:
        Keys of unusable records with the reason, and how many photos have which size.
    """
    count = len(source)
    hashes = np.zeros((count, HASH_BYTES), np.uint8)
    sizes: Counter[tuple[int, int]] = Counter()
    left_out: dict[int, str] = {}
    usable = np.ones(count, bool)
    done = 0
    for start, found, shapes, problems in _examined(source, workers):
        hashes[start : start + len(found)] = found
        kinds, counts = np.unique(shapes[shapes[:, 0] > 0], axis=0, return_counts=True)
        sizes.update({(int(w), int(h)): int(n) for (w, h), n in zip(kinds, counts, strict=True)})
        for position, why in problems:
            left_out[int(source.index.keys[position])] = why
            usable[position] = False
        done += len(found)
        if progress:
            progress(done, count)
    left_out |= _repeats(source, hashes, np.flatnonzero(usable))
    if (file := left_out_file(source)) is not None:
        write_text(file, json.dumps({str(key): why for key, why in sorted(left_out.items())}))
    return left_out, sizes


def _repeats(source: RecordSource, hashes: np.ndarray, rows: np.ndarray) -> dict[int, str]:
    _, first, inverse = np.unique(hashes[rows], axis=0, return_index=True, return_inverse=True)
    origin = rows[first[inverse.reshape(-1)]]
    again = rows != origin
    return {
        int(source.index.keys[row]): f"repeated photo: the same file as {source.key(int(o))}"
        for row, o in zip(rows[again].tolist(), origin[again].tolist(), strict=True)
    }


def _examined(source: RecordSource, workers: int) -> Iterator[Examined]:
    starts = range(0, len(source), AT_ONCE)
    if workers <= 1:
        for start in starts:
            yield examine(source, start)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process that holds threads may hang
    with ProcessPoolExecutor(workers, context, _open, (source,)) as pool:
        waiting: deque[Future[Examined]] = deque()
        try:
            for start in starts:
                with unheard_by_children():
                    waiting.append(pool.submit(_examine, start))
                if len(waiting) > 3 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # where it is broken off, nothing that waits is begun


def _open(source: RecordSource) -> None:
    global _source
    _source = source
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the pool's own processes wait for ever for one that was killed


def _examine(start: int) -> Examined:
    assert _source is not None
    return examine(_source, start)


def examine(source: RecordSource, start: int) -> Examined:
    """Hashes (n, 16), shapes (n, 2), 0 where damaged, and problems by position of the records from ``start`` on."""
    rows = range(start, min(start + AT_ONCE, len(source)))
    hashes, shapes = np.zeros((len(rows), HASH_BYTES), np.uint8), np.zeros((len(rows), 2), np.int32)
    problems = []
    for place, row in enumerate(rows):
        try:
            data = source.read(row)
            shapes[place] = inspect(data)
            hashes[place] = np.frombuffer(hashlib.sha256(data).digest()[:HASH_BYTES], np.uint8)
        except PhotoError as error:
            problems.append((row, str(error)))
        except OSError as error:
            problems.append((row, f"unreadable: {error.strerror}"))
    return start, hashes, shapes, problems
