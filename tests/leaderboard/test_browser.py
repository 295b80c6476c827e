"""The board once in a real browser, for what Streamlit's test harness cannot see."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from record_factory import make_record

from benchmark.store import Store

sync_api = pytest.importorskip("playwright.sync_api")
sync_api.expect.set_options(timeout=20_000)
CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]

ARGUMENTS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
ARGUMENTS += ["--disable-sync", "--no-first-run"]


def records():
    early = {"defense": "early_stopping", "team": "Nordlicht", "track": "synthetic-64"}
    return [
        make_record("undefended", track="synthetic-64", utility=0.85, leakage=0.75),
        make_record("dp", "dp_sgd", {"epsilon": 8}, track="synthetic-64", utility=0.4, leakage=0.1),
        make_record("early 12", settings={"epochs": 12}, utility=0.78, leakage=0.45, **early),
        make_record("early 6", settings={"epochs": 6}, utility=0.6, leakage=0.6, **early),
        make_record("half", settings={"x": 2}, track="synthetic-64", complete=False),
        make_record("<b>weights</b>", settings={"x": 3}, track="synthetic-64", board="weights"),
        make_record("other track", track="another"),
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The board's own launcher, started elsewhere than in the project's folder."""
    folder = tmp_path_factory.mktemp("board")
    store = Store(folder / "store.sqlite")
    for record in records():
        store.add_record(record)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "leaderboard.launch", "--port", str(port), "--store", str(folder / "store.sqlite")]
    environment = {**os.environ, "PYTHONPATH": root, "HOME": str(folder), "FACEVEIL_RECORDS": str(folder / "none")}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        _wait(f"http://127.0.0.1:{port}/_stcore/health", process)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        assert process.wait(20) == 0, "the launcher must end when it is told to"
    assert "Traceback" not in (folder / "log.txt").read_text()


def _wait(url: str, process: subprocess.Popen) -> None:
    for _ in range(300):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """A page that remembers every address it asked for; nothing but this machine may be among them."""
    context = browser.new_context(viewport={"width": 1360, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(20_000)
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    context.close()
    assert not [url for url in asked if not url.startswith((server, server.replace("http", "ws"), "data:", "blob:"))]


def count(page, text: str):
    return page.get_by_text(text).wait_for()


def name_in_detail(page):
    """Which entry is detailed."""
    return page.get_by_test_id("stText")


def select(page, table: int, row: int) -> None:
    """Ticks a row of a table; the grid is a canvas, so by place."""
    grid = page.get_by_test_id("stDataFrame").nth(table)
    grid.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = grid.bounding_box()
    page.mouse.click(box["x"] + 15, box["y"] + 35 * (row + 1.5))


def test_opens_filters_restores_and_downloads(page, server):
    page.goto(server)
    count(page, "5 of 5 entries")
    page.get_by_test_id("stVegaLiteChart").first.locator("canvas, svg").first.wait_for()
    assert page.get_by_role("heading", name="FaceVeil").is_visible()

    page.get_by_role("searchbox", name="Search").press_sequentially("nordlicht")  # live: no Enter
    count(page, "2 of 5 entries")
    page.get_by_test_id("stButtonGroup").get_by_text("Training").click()
    page.wait_for_url(re.compile("q=nordlicht.*family=Training|family=Training.*q=nordlicht"))
    link = page.url

    with page.expect_download() as got:
        page.get_by_role("button", name="JSON", exact=True).click()
    assert got.value.suggested_filename == "faceveil-synthetic-64-verified.json"
    entries = json.loads(Path(got.value.path()).read_text())["entries"]
    assert [(e["entry"], e["rank"]) for e in entries] == [("early 12", 1), ("early 6", 2)]
    with page.expect_download() as got:
        page.get_by_role("button", name="CSV", exact=True).click()
    assert len(Path(got.value.path()).read_text().splitlines()) == 3

    again = page.context.new_page()
    again.goto(link)
    count(again, "2 of 5 entries")
    sync_api.expect(again.get_by_role("searchbox", name="Search")).to_have_value("nordlicht")

    page.get_by_role("button", name="Reset").click()
    count(page, "5 of 5 entries")
    page.wait_for_function("!location.search.includes('q=') && !location.search.includes('family=')")


def test_a_selected_row_is_detailed_below_and_its_link_restores_it(page, server):
    page.goto(server)
    count(page, "5 of 5 entries")
    select(page, table=0, row=2)
    page.wait_for_url(re.compile("entry="))
    page.get_by_role("tab", name="ROC").click()
    sync_api.expect(name_in_detail(page)).to_have_text("undefended · FaceVeil")
    page.get_by_text("other photos of the same people").wait_for()
    page.wait_for_url(re.compile("tab=ROC"))
    page.wait_for_timeout(1500)  # nothing that comes later may change the link
    link = page.url

    again = page.context.new_page()
    again.goto(link)
    sync_api.expect(name_in_detail(again)).to_have_text("undefended · FaceVeil")
    again.get_by_text("other photos of the same people").wait_for()

    select(page, table=1, row=0)  # among the unranked
    sync_api.expect(name_in_detail(page)).to_have_text("half · FaceVeil")
    select(page, table=0, row=0)
    sync_api.expect(name_in_detail(page)).to_have_text("dp · FaceVeil")


def test_boards_are_apart_and_text_stays_text(page, server):
    page.goto(server)
    page.get_by_test_id("stButtonGroup").get_by_text("Weights only").click()
    count(page, "1 of 1 entries")
    page.wait_for_url(re.compile("board=Weights"))
    sync_api.expect(name_in_detail(page)).to_have_text("<b>weights</b> · FaceVeil")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_can_read_it_in_both_themes(browser, server, scheme):
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.goto(server)
    count(page, "5 of 5 entries")
    page.get_by_test_id("stVegaLiteChart").first.locator("canvas, svg").first.wait_for()
    main = "document.querySelector('[data-testid=stMain]')"
    assert page.evaluate(f"{main}.scrollWidth") <= 390  # nothing makes the page scroll sideways
    background = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 23, 30)"}[scheme]
    context.close()
