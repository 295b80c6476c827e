"""How fast the board is with many records and many readers (``faceveil bench board``)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from benchmark.interfaces import FaceVeilError
from leaderboard.bench import readers
from leaderboard.bench import records as made_up
from leaderboard.bench.process import serving
from leaderboard.board.library import RECORDS

ROUNDS = 4  # of readers: what grows without bound grows in each
REQUESTS = 2000
ASKED = "/api/v1/leaderboard?limit=50"


def bench(
    records: int = 10_000, visitors: int = 50, times: int = 5, step: Callable[[str], None] = lambda _text: None
) -> list[dict[str, Any]]:
    """Measures and returns rows of name, value, unit, bound (None: none is set) and note.

    ``records``: how many made-up ones; 0: those that ship with the project.

    Everything runs on this machine: a board of its own on made-up records, asked by a browser and by plain sessions.

    Raises:
        FaceVeilError: there is no browser, or the board did not start.
    """
    with tempfile.TemporaryDirectory(prefix="faceveil-bench-") as name, readers.chromium() as browser:
        folder = Path(name)
        step(f"{records:,} records" if records else "the shipped records")
        place, rows = RECORDS, []
        text, words = "entries", ["undefended", "", "undefended", "", "undefended"]
        if records:
            place, text = folder / "records", f"of {records:,} entries"
            words = [f"entry {number}" for number in (7, 77, 777, 78, 787)]
            rows.append(_row("size of a record's JSON", made_up.write(place, records) / 1000, "kB"))
        step("the board starts and reads them")
        with serving(folder, place) as (process, port):
            rows += _first(process.pid, port, "first reader after the files changed", None)
        step("a new server on the same records")
        with serving(folder, place) as (process, port):
            url = f"http://127.0.0.1:{port}/"
            rows += _first(process.pid, port, "first reader of a new server", 3.0)
            step("first paint and filters")
            before = readers.processor_seconds(process.pid)
            rows.append(_row("first paint", readers.first_paint(browser, url, text, times), "s", 2.0, f"median of {times}"))
            after = readers.processor_seconds(process.pid)
            if before is not None and after is not None:
                rows.append(_row("first paint: processor time of the server", (after - before) / (times + 1), "s"))
            rows.append(_row("filter", readers.filtering(browser, url, text, words), "s", 0.3, f"median of {len(words)}"))
            step(f"{visitors} readers at once, {ROUNDS} times")
            rows += _visits(process.pid, port, visitors)
            step("the interface for programs")
            rows += _requests(port)
    return rows


def _first(pid: int, port: int, name: str, bound: float | None) -> list[dict[str, Any]]:
    """Seconds that a reader waits who comes as soon as the server answers, and what the server had to do since its start.

    On a busy machine the second says what the first does on a quiet one.
    """
    started = time.perf_counter()
    readers.crowd(port, 1)
    rows = [_row(name, time.perf_counter() - started, "s", bound)]
    taken = readers.processor_seconds(pid)
    return rows if taken is None else [*rows, _row(f"{name}: processor time since the start", taken, "s")]


def _row(name: str, value: float, unit: str, bound: float | None = None, note: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "bound": bound, "note": note}


def _visits(pid: int, port: int, visitors: int) -> list[dict[str, Any]]:
    """Memory after each round of readers."""
    used, taken = [readers.memory_mb(pid)], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        readers.crowd(port, visitors)
        taken.append(time.perf_counter() - started)
        time.sleep(3)
        used.append(readers.memory_mb(pid))
    rows = [_row(f"{visitors} readers at once", min(taken), "s", note="until the last has the board; best round")]
    measured = [m for m in used if m is not None]
    if len(measured) == len(used):
        texts = ", ".join(f"{m:.0f}" for m in measured)
        rows.append(_row("memory of the server", measured[-1], "MB", note=f"before and after each round: {texts}"))
        rows.append(_row("growth in the last round", measured[-1] - measured[-2], "MB", note="readers have left"))
    return rows


def _requests(port: int) -> list[dict[str, Any]]:
    """Cached requests a second to the API over one kept connection: whole answers, and those of readers who have it."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    first, body = _asked(connection, {})
    tag = first.headers.get("ETag", "")
    rows = []
    for name, headers in (("cached requests", {}), ("cached requests, unchanged", {"If-None-Match": tag})):
        started = time.perf_counter()
        for _ in range(REQUESTS):
            answer, body = _asked(connection, headers)
        rate = REQUESTS / (time.perf_counter() - started)
        rows.append(_row(name, rate, "a second", 500.0, f"status {answer.status}, {len(body) / 1000:.1f} kB, {ASKED}"))
    connection.close()
    return rows


def _asked(connection: HTTPConnection, headers: dict[str, str]) -> tuple[HTTPResponse, bytes]:
    connection.request("GET", ASKED, headers={"Accept-Encoding": "gzip", **headers})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status not in (200, 304):
        raise FaceVeilError(f"{ASKED} answers with status {answer.status}.")
    return answer, body
