"""Readers of the pages as a server sees them: a browser, and sessions without one."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmark.interfaces import FaceVeilError

FLAGS = ("--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
WAIT = 300_000  # ms, at most


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without windows.

    Raises:
        FaceVeilError: there is none here.
    """
    path = shutil.which("chromium")
    if path is None or find_spec("playwright") is None:
        raise FaceVeilError("a browser is needed: install chromium, and playwright (`pip install faceveil[test]`).")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


def settle(page: Any) -> None:
    """Waits until nothing of a page is still to come: parts that are loading stand taller than what replaces them."""
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget], [data-testid=stSkeleton]')")


def first_paint(browser: Any, url: str, text: str, times: int) -> float:
    """Seconds from the address to a drawn table, median; each time a browser that has the site's files and no session."""
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    context.set_default_timeout(WAIT)
    taken = []
    for _ in range(times + 1):
        page = context.new_page()
        started = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.get_by_text(text).first.wait_for()
        page.get_by_test_id("stDataFrame").first.locator("canvas").first.wait_for()
        taken.append(time.perf_counter() - started)
        page.close()
    context.close()
    return median(taken[1:])  # the first one fetched the site's files


def filtering(browser: Any, url: str, text: str, words: list[str]) -> float:
    """Seconds from the last letter of a search to the new count, median."""
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.goto(url)
    page.get_by_text(text).first.wait_for()
    box = page.get_by_role("searchbox", name="Search")
    taken = []
    count = page.locator("strong", has_text=re.compile("of .* entries")).first
    for word in words:
        before = count.inner_text()
        box.fill(word)
        started = time.perf_counter()
        page.wait_for_function("([e, was]) => e.innerText !== was", arg=[count.element_handle(), before], polling=10)
        taken.append(time.perf_counter() - started)
    context.close()
    return median(taken)


def crowd(port: int, readers: int) -> None:
    """Opens the board in so many sessions at once, waits until each has its page, and leaves."""
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
    from websockets.sync.client import connect

    ask = BackMsg()
    ask.rerun_script.query_string = ""
    address = f"ws://127.0.0.1:{port}/_stcore/stream"
    with ExitStack() as stack:
        options: dict[str, Any] = {"subprotocols": ["streamlit"], "max_size": None, "origin": f"http://127.0.0.1:{port}"}
        sockets = [stack.enter_context(connect(address, open_timeout=120, **options)) for _ in range(readers)]
        for socket in sockets:
            socket.send(ask.SerializeToString())
        for socket in sockets:
            message = ForwardMsg()
            while message.WhichOneof("type") != "script_finished":
                message.ParseFromString(socket.recv(timeout=300))


def memory_mb(pid: int) -> float | None:
    """Resident memory of a process; None where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) / 1024 if found else None


def processor_seconds(pid: int) -> float | None:
    """Processor time that a process has taken since it started; None where the system does not tell."""
    status = Path(f"/proc/{pid}/stat")
    if not status.is_file():
        return None
    fields = status.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)
