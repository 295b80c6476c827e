"""What strangers may hold of the server: files of browser sessions, sockets, and requests that no address could mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from leaderboard.api.errors import document
from leaderboard.api.headers import below
from leaderboard.widgets.allowance import Allowance, page_uploads

_ROUTE = "/_stcore/upload_file/"
SOCKETS, SOCKETS_AN_ADDRESS = 512, 128


class Guard:
    """In front of pages and API.

    Args:
        hosts: names that this server answers to; empty: any.
        prefix: of the API.
    """

    def __init__(self, app: ASGIApp, prefix: str, hosts: Iterable[str] = (), allowance: Allowance = page_uploads) -> None:
        self._app, self._prefix = app, prefix
        self._hosts = {host.lower() for host in hosts}
        self._allowance = allowance
        self._sockets: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, code, message = refusal
        answer = JSONResponse(document(code, message), status, {"Cache-Control": "no-store", "Connection": "close"})
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        if "\x00" in scope["path"] or b"%00" in scope.get("query_string", b""):
            return 400, "nul", "an address cannot contain a NUL character."
        if self._hosts and below(scope["path"], self._prefix) and _host(scope) not in self._hosts:
            return 421, "host", "this server does not answer to that name; the evaluator sets it with --public-host."
        _, found, place = scope["path"].partition(_ROUTE)
        return self._upload(scope, place) if found else None

    def _upload(self, scope: Scope, place: str) -> tuple[int, str, str] | None:
        session, _, file = place.partition("/")
        if scope["method"] == "DELETE":
            self._allowance.drop(session, file)
        if scope["method"] not in ("PUT", "POST"):
            return None
        length = _header(scope, b"content-length")
        if not (length.isascii() and length.isdigit() and len(length) < 16):
            return 411, "length", "say how long the file is (Content-Length)."
        status, reason = self._allowance.take(session, file, int(length))
        return None if status == 200 else (status, "page_upload", reason)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = scope["client"][0] if scope.get("client") else ""
        if self._sockets.total() >= SOCKETS or self._sockets[address] >= SOCKETS_AN_ADDRESS:
            await receive()
            await send({"type": "websocket.close", "code": 1013, "reason": "too many pages are open"})
            return
        self._sockets[address] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._sockets[address] -= 1
            self._sockets += Counter()  # forgets addresses without any


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _host(scope: Scope) -> str:
    """The name in the Host header, without the port; an IPv6 address in its brackets."""
    host = _header(scope, b"host").lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
