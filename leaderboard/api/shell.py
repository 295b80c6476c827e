"""The HTML that every page begins with, made the board's own.

Streamlit's asks for the server's health below the page's own address first (``/submission/_stcore/health``), which nobody
answers: two failed requests, and a round trip lost, on every deep link.  Told where the server is, it asks there.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from pathlib import Path

import streamlit
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

TITLE = "FaceVeil leaderboard"


@cache
def html(prefix: str) -> str:
    """Streamlit's own start page with the board's title and the address of the server."""
    text = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    where = f"window.__streamlit = {{BACKEND_BASE_URL: window.location.origin + {json.dumps(prefix + '/')}}}"
    text = text.replace("<title>Streamlit</title>", f"<title>{TITLE}</title>", 1)
    return text.replace("<head>", f"<head><script>{where}</script>", 1)


class Shell:
    """Answers requests for pages; hands all others on.

    Args:
        pages: their names, as they stand in addresses.
        prefix: where a reverse proxy shows the board, such as ``/faceveil``.
    """

    def __init__(self, app: ASGIApp, pages: Collection[str], prefix: str = "") -> None:
        self._app = app
        self._prefix = prefix
        self._paths = {f"{prefix}/", *(f"{prefix}/{page}" for page in pages)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] in self._paths:
            await HTMLResponse(html(self._prefix), headers={"Cache-Control": "no-cache"})(scope, receive, send)
            return
        await self._app(scope, receive, send)
