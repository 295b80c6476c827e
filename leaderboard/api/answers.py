"""Answers of the API: JSON bytes, each with its ETag, kept until the store changes."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

FRESH_SECONDS = 0.25  # that a version which was read is taken for the present one
_KEPT_BYTES = 64 * 2**20  # of all answers that are kept
_COMPRESSED = 1024  # bytes from which on it pays


@dataclass(frozen=True)
class Answer:
    """A finished answer."""

    body: bytes
    compressed: bytes
    etag: str
    media_type: str

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly."""
        return len(self.body) + len(self.compressed) + 500

    @staticmethod
    def of(content: Any, media_type: str = "application/json") -> Answer:
        """Of JSON data, or of a text of another kind."""
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, allow_nan=False)
        body = text.encode()
        compressed = gzip.compress(body, 6, mtime=0) if len(body) >= _COMPRESSED else b""
        return Answer(body, compressed, f'W/"{hashlib.sha256(body).hexdigest()[:32]}"', media_type)

    def response(self, request: Request) -> Response:
        """The answer to a request: 304 without a body where the reader has it already."""
        headers = {
            "ETag": self.etag,
            "Cache-Control": "no-cache",
            "Vary": "Accept-Encoding",
            "Access-Control-Allow-Origin": "*",
        }
        if _matches(request.headers.get("if-none-match", ""), self.etag):
            return Response(status_code=304, headers=headers)
        if self.compressed and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=self.media_type)
        return Response(self.body, headers=headers, media_type=self.media_type)


def _matches(given: str, etag: str) -> bool:
    """Weak comparison (RFC 9110, 13.1.2)."""
    wanted = etag.removeprefix("W/")
    return any(item.strip() == "*" or item.strip().removeprefix("W/") == wanted for item in given.split(",") if item.strip())


class Answers:
    """Answers by their address, valid for one version of what they are made from.

    Args:
        version: reads the present version; asked at most once in :data:`FRESH_SECONDS`.
        most_bytes: of all answers that are kept.
    """

    def __init__(
        self, version: Callable[[], Hashable], fresh_seconds: float = FRESH_SECONDS, most_bytes: int = _KEPT_BYTES
    ) -> None:
        self._read = version
        self._fresh = fresh_seconds
        self._lock = threading.Lock()
        self._version: Hashable = None
        self._until = 0.0
        self._kept: OrderedDict[Hashable, Answer] = OrderedDict()
        self._bytes, self._most = 0, most_bytes

    def kept(self, key: Hashable) -> Answer | None:
        """The answer, if it is there and the version was read a moment ago: no work at all."""
        with self._lock:
            return self._kept.get((self._version, key)) if time.monotonic() < self._until else None

    def get(self, key: Hashable, make: Callable[[], Answer]) -> Answer:
        """The answer, made if it is not there or out of date."""
        version = self._present()
        with self._lock:
            found = self._kept.get((version, key))
        if found is not None:
            return found
        made = make()
        with self._lock:
            self._keep((version, key), made)
        return made

    def _keep(self, key: Hashable, made: Answer) -> None:
        """Keeps an answer, and forgets the oldest ones where all take too much."""
        replaced = self._kept.pop(key, None)
        self._bytes += made.size - (replaced.size if replaced else 0)
        self._kept[key] = made
        while self._bytes > self._most:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size

    def _present(self) -> Hashable:
        now = time.monotonic()
        with self._lock:
            if now < self._until:
                return self._version
        version = self._read()
        with self._lock:
            if version != self._version:
                self._kept.clear()
                self._bytes = 0
            self._version, self._until = version, now + self._fresh
        return version
