"""The pages in a real browser, for what Streamlit's test harness cannot see."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from board_server import CHROMIUM, WAIT, serving
from record_factory import make_record

from benchmark.service.store import Store
from leaderboard.bench.readers import settle
from leaderboard.bench.screenshot import DESKTOP, PHONE, PHONE_AGENT
from leaderboard.board.library import build

sync_api = pytest.importorskip("playwright.sync_api")
sync_api.expect.set_options(timeout=WAIT)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]


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
    with serving(folder) as url:
        yield url


def count(page, text: str) -> None:
    page.get_by_text(text).first.wait_for()


def downloaded(page, button: str, whole: Callable[[str], bool]) -> tuple[str, str]:
    """Name and text of a file; until the page has been drawn anew, its buttons hold what it showed before."""
    for _ in range(20):
        with page.expect_download() as got:
            page.get_by_role("button", name=button, exact=True).click()
        try:
            name, text = got.value.suggested_filename, Path(got.value.path()).read_text()
            if name.startswith("faceveil-") and whole(text):
                break
        except (sync_api.Error, ValueError):  # the file was replaced while it was fetched
            pass
        page.wait_for_timeout(500)
    return name, text


def tick(page, table: int, *rows: int) -> None:
    """Ticks rows of a table; the grid is a canvas, so by place."""
    grid = page.get_by_test_id("stDataFrame").nth(table)
    grid.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = grid.bounding_box()
    for row in rows:
        page.mouse.click(box["x"] + 15, box["y"] + 35 * (row + 1.5))


def chart(page) -> None:
    page.get_by_test_id("stVegaLiteChart").first.locator("canvas, svg").first.wait_for()


def keys() -> dict[str, str]:
    return {entry.label: key for key, entry in build(records()).entries.items()}


def test_opens_filters_restores_and_downloads(page, server):
    page.goto(server)
    count(page, "5 of 5 entries")
    assert page.get_by_role("heading", name="FaceVeil").is_visible()
    table = page.get_by_test_id("stDataFrame").first
    table.wait_for()
    settle(page)
    assert table.bounding_box()["y"] < 600  # of 1000: in sight without scrolling

    page.get_by_role("searchbox", name="Search").press_sequentially("nordlicht")  # live: no Enter
    count(page, "2 of 5 entries")
    page.get_by_test_id("stButtonGroup").get_by_text("Training").click()
    page.wait_for_url(re.compile("q=nordlicht.*family=Training|family=Training.*q=nordlicht"))
    link = page.url

    name, text = downloaded(page, "JSON", lambda text: len(json.loads(text)["entries"]) == 2)
    assert name == "faceveil-synthetic-64-verified.json"
    assert [(e["entry"], e["rank"]) for e in json.loads(text)["entries"]] == [("early 12", 1), ("early 6", 2)]
    name, text = downloaded(page, "CSV", lambda text: len(text.splitlines()) == 3)
    assert name == "faceveil-synthetic-64-verified.csv"

    again = page.context.new_page()
    again.goto(link)
    count(again, "2 of 5 entries")
    sync_api.expect(again.get_by_role("searchbox", name="Search")).to_have_value("nordlicht")

    page.get_by_role("button", name="Reset").click()
    count(page, "5 of 5 entries")
    page.wait_for_function("!location.search.includes('q=') && !location.search.includes('family=')")


def test_sorting_is_chosen_stands_in_the_address_and_is_named(page, server):
    page.goto(server)
    count(page, "sorted by rank, then utility")
    page.get_by_role("button", name="View").click()
    page.get_by_role("combobox", name="Sorted by").click()
    page.get_by_role("option", name="Leakage", exact=True).click()
    count(page, "sorted by leakage, the lowest first")
    page.wait_for_url(re.compile("sort=Leakage"))


def test_ticked_rows_are_compared_and_opened_and_their_links_restore_them(page, server):
    page.goto(f"{server}?sort=Utility")
    count(page, "sorted by utility")
    tick(page, 0, 0)  # undefended, among the controls
    tick(page, 1, 2)
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url(re.compile(f"compare(?=.*entry={keys()['dp']})(?=.*entry={keys()['undefended']})"))
    chart(page)
    link = page.url
    again = page.context.new_page()
    again.goto(link)
    chart(again)
    count(again, "Differences with 95 % intervals")

    page.get_by_role("button", name="Back to the board").click()
    page.wait_for_url(re.compile("sort=Utility"))
    count(page, "sorted by utility")
    sync_api.expect(page.get_by_role("button", name="Compare")).to_be_enabled()  # both are still ticked
    page.goto(server)  # another session, without ticks
    count(page, "5 of 5 entries")
    tick(page, 1, 0)
    page.get_by_role("button", name="Open", exact=True).last.click()
    page.wait_for_url(re.compile(f"submission.*entry={keys()['early 12']}"))
    count(page, "early 12 · by Nordlicht")
    page.get_by_role("tab", name="ROC").click()
    page.wait_for_url(re.compile("tab=ROC"))
    count(page, "other photos of the same people")
    page.wait_for_timeout(1000)  # nothing that comes later may change the link
    again.goto(page.url)
    count(again, "early 12 · by Nordlicht")
    count(again, "other photos of the same people")


def test_the_track_stays_chosen_from_page_to_page(page, server):
    page.goto(f"{server}?track=another")
    count(page, "1 of 1 entries")
    page.get_by_role("link", name="Pareto").click()
    chart(page)
    page.wait_for_url(re.compile("pareto.*track=another"))
    page.go_back()
    page.wait_for_timeout(1500)
    if "pareto" in page.url:  # Streamlit may have pushed the page without its choices, too
        page.go_back()
    count(page, "1 of 1 entries")


def test_boards_are_apart_and_text_stays_text(page, server):
    page.goto(server)
    page.get_by_test_id("stButtonGroup").get_by_text("Weights only").click()
    count(page, "1 of 1 entries")
    page.wait_for_url(re.compile("board=weights"))
    page.goto(f"{server}submission?entry={keys()['<b>weights</b>']}")
    count(page, "<b>weights</b> · by FaceVeil")
    page.goto(f"{server}submission?entry={keys()['other track']}")
    page.wait_for_url(re.compile("track=another"))  # the link's own track, not the default one


PAGES = ["", "pareto", "compare?entry={dp}&entry={early 12}", "submission?entry={dp}", "attacks", "submit", "queue", "about"]


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_a_phone_can_read_every_page_in_both_themes(browser, server, scheme):
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    context.set_default_timeout(WAIT)
    page = context.new_page()
    for address in PAGES:
        page.goto(server + address.format(**keys()))
        page.get_by_role("heading", level=1).wait_for()
        settle(page)
        main = "document.querySelector('[data-testid=stMain]')"
        assert page.evaluate(f"{main}.scrollWidth") <= 390, address  # nothing makes the page scroll sideways
        background = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 23, 30)"}[scheme]
    context.close()


# Streamlit's own widgets: what axe reports on them and pages cannot change, by rule and where
KNOWN = {
    "color-contrast": "[data-testid=stMultiSelect]",  # white on the primary colour of the dark theme
    "scrollable-region-focusable": "[data-testid=stVerticalBlock]",  # its containers scroll without a tab stop
    "duplicate-id-aria": "[data-testid=stDataFrame]",  # every grid of a page numbers its cells from glide-cell-0-0
}


def ours(page, violation: dict) -> list[str]:
    """The elements of a serious violation that are not known ones of Streamlit's."""
    if violation["impact"] not in ("serious", "critical"):
        return []
    place = KNOWN.get(violation["id"])
    inside = "([target, place]) => { const e = document.querySelector(target); return !e || !!e.closest(place) }"
    nodes = violation["nodes"]
    return [n["html"][:200] for n in nodes if not (place and page.evaluate(inside, [n["target"][0], place]))]


METHODS = ["methods?method=defenses/dp_sgd", "methods?method=membership/bn_distance"]


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_no_serious_violation_of_ours(browser, server, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed").Axe()
    agent = {"user_agent": PHONE_AGENT} if width == PHONE else {}
    context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme, **agent)
    context.set_default_timeout(WAIT)
    page = context.new_page()
    found = []
    for address in [*PAGES, *METHODS]:
        page.goto(server + address.format(**keys()))
        page.get_by_role("heading", level=1).wait_for()
        settle(page)
        for violation in axe.run(page).response["violations"]:
            if elements := ours(page, violation):
                found.append((address, violation["id"], elements[:3]))
    context.close()
    assert not found


def test_a_phone_opens_an_entry_by_a_tap_and_sees_both_numbers(browser, server):
    context = browser.new_context(viewport={"width": PHONE, "height": 844}, user_agent=PHONE_AGENT, has_touch=True)
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.goto(server)
    row = page.get_by_role("row").filter(has_text="early 12")
    row.get_by_role("link").wait_for()
    cells = row.get_by_role("cell").all_inner_texts()
    assert [cell.split()[0] for cell in cells[2:]] == ["0.780", "0.450"]
    assert all(box["x"] + box["width"] <= PHONE for box in [cell.bounding_box() for cell in row.get_by_role("cell").all()])
    row.get_by_role("link").tap()
    page.wait_for_url(re.compile(f"submission.*entry={keys()['early 12']}"))
    count(page, "early 12 · by Nordlicht")
    context.close()
