"""A leaderboard elsewhere, spoken to over HTTP as ``docs/api.md`` of the project says.

Redirects are not followed, and a token is only sent over HTTPS or to this machine, so that nobody else gets to read it.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from benchmark.interfaces import FaceVeilError

SECONDS = 600.0  # that an answer may take: the checks of an upload are among it
_MAX_ANSWER = 64 * 2**20


class RemoteError(FaceVeilError):
    """The leaderboard cannot be reached, or says no; ``document`` is its answer."""

    def __init__(self, message: str, document: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.document = dict(document or {})


class Remote:
    """A leaderboard by its address.

    Args:
        url: where its pages are, base path included.
        token: of a team; needed for what changes something.

    Raises:
        RemoteError: in every method.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").encode("idna").decode(), parts.port
        except ValueError:  # brackets, a port, or a name that cannot be
            host = ""
        if not host or parts.scheme not in ("http", "https"):
            raise RemoteError(f"{url!r} is no address of a leaderboard; expected https://host or https://host/path.")
        token = token.strip() if token else token  # a line that was read from a file ends in a line's end
        if token and not (token.isascii() and token.isprintable()):
            raise RemoteError("the token holds characters that no token has: copy it again.")
        if token and parts.scheme == "http" and not _this_machine(host):
            raise RemoteError(f"{url} is not HTTPS: the token could be read on the way. Give the https:// address.")
        self.url = url.rstrip("/")
        self._base = quote(parts.path.rstrip("/"), safe="/%")
        self._secure, self._host, self._port = parts.scheme == "https", host, port
        self._token = token

    def submit(self, archive: Path, consent: bool) -> dict[str, Any]:
        """Uploads a zip; returns its job, checked and, with consent, queued."""
        headers = {"Content-Type": "application/zip", "Content-Length": str(archive.stat().st_size)}
        with archive.open("rb") as body:
            return self._ask("POST", "/submissions", {"consent": "yes"} if consent else {}, body, headers)

    def job(self, job_id: str) -> dict[str, Any]:
        """A job and the end of its log."""
        return self._ask("GET", f"/submissions/{quote(job_id, safe='')}")

    def queue(self, **filters: Any) -> dict[str, Any]:
        """The queue: its counts, and its jobs."""
        return self._ask("GET", "/queue", {name: value for name, value in filters.items() if value is not None})

    def act(self, job_id: str, action: str) -> dict[str, Any]:
        """``consent``, ``retry`` or ``withdraw``."""
        return self._ask("POST", f"/submissions/{quote(job_id, safe='')}/{action}")

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        sent = {"Accept": "application/json", **(headers or {})}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        target = f"{self._base}/api/v1{path}{'?' + urlencode(query) if query else ''}"
        with self._connection() as connection:
            # broken off: it said no before it had read everything, and its answer says why
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body=body, headers=sent)
            answer = connection.getresponse()
            content = answer.read(_MAX_ANSWER)
        return self._understood(answer.status, content)

    @contextmanager
    def _connection(self) -> Iterator[http.client.HTTPConnection]:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=SECONDS)
        try:
            yield connection
        except (OSError, http.client.HTTPException) as error:
            raise RemoteError(
                f"{self.url} cannot be reached: {str(error) or type(error).__name__}. Is the address right?"
            ) from None
        finally:
            connection.close()

    def _understood(self, status: int, content: bytes) -> dict[str, Any]:
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise RemoteError(f"{self.url} does not answer as a leaderboard does (status {status}). Is the address right?")
        if status >= 400:
            told = document.get("error")
            message = told.get("message", "") if isinstance(told, dict) else ""
            raise RemoteError(f"{self.url} says no ({status}): {message}", document)
        return document


def _this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
