"""The start page of every deep link is the board's own, and asks for nothing that is not there."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from leaderboard import views
from leaderboard.api.server import PAGES
from leaderboard.api.shell import Shell


@pytest.mark.parametrize("prefix", ["", "/faceveil"])
def test_pages_begin_with_the_address_of_the_server(prefix):
    inner = Starlette(routes=[Route("/{rest:path}", lambda _: PlainTextResponse("inner"))])
    client = TestClient(Shell(inner, PAGES, prefix))
    for path in (f"{prefix}/", f"{prefix}/submission?entry=a"):
        text = client.get(path).text
        assert f'BACKEND_BASE_URL: window.location.origin + "{prefix}/"' in text.split("</script>")[0]
        assert "<title>FaceVeil leaderboard</title>" in text
    assert client.get(f"{prefix}/static/js/x.js").text == "inner"
    assert client.post(f"{prefix}/submission").text != client.get(f"{prefix}/submission").text


def test_every_page_is_known():
    from pathlib import Path

    files = {path.stem for path in Path(views.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(PAGES) == files
