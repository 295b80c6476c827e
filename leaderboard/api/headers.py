"""Security headers, and the API beside the pages, as plain ASGI."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALL = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_API = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "X-Frame-Options": "DENY"}
# Streamlit's pages need inline styles, and its charts compile their expressions; nothing comes from another host
_POLICY = (
    "default-src 'self'",
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self' ws: wss: data: blob:",
    "worker-src 'self' blob:",
    "frame-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'self'",
)
_PAGES = {"Content-Security-Policy": "; ".join(_POLICY), "X-Frame-Options": "SAMEORIGIN"}


def below(path: str, prefix: str) -> bool:
    """True where a path is the prefix or lies below it."""
    return path == prefix or path.startswith(f"{prefix}/")


class SecurityHeaders:
    """Adds headers to every answer, those of the API or those of the pages."""

    def __init__(self, app: ASGIApp, api_prefix: str) -> None:
        self._app = app
        self._prefix = api_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        added = _ALL | (_API if below(scope["path"], self._prefix) else _PAGES)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in added.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class ApiMount:
    """Hands requests for the API to it and all others on."""

    def __init__(self, app: ASGIApp, api: ASGIApp, prefix: str) -> None:
        self._app = app
        self._api = api
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and below(scope["path"], self._prefix)
        await (self._api if ours else self._app)(scope, receive, send)
