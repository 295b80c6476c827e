"""A browser for the tests of the pages."""

from __future__ import annotations

import pytest
from board_server import ARGUMENTS, CHROMIUM, WAIT


@pytest.fixture(scope="module")  # while it is open, no other test of this process can run an event loop
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """A page that remembers what it asked for: only this machine may be among it, and nothing that is not there."""
    context = browser.new_context(viewport={"width": 1360, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(WAIT)
    page, asked, missing = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda response: missing.append(response.url) if response.status == 404 else None)
    yield page
    context.close()
    assert not [url for url in asked if not url.startswith((server, server.replace("http", "ws"), "data:", "blob:"))]
    assert not missing
