"""Connections that say too little for too long, or are too many, are closed: they would keep others out."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0  # for the head of a request, from its first byte or from the connection
MOST, MOST_AN_ADDRESS = 1024, 256
_LOOPBACK = ("127.0.0.1", "::1")  # a proxy on this machine brings everybody


class BoundedProtocol(H11Protocol):
    """uvicorn's, with a deadline for the head of a request and a limit on connections."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuses a connection that is one too many."""
        super().connection_made(transport)
        if self._too_many():
            transport.abort()
            return
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Starts the clock of a head that has begun, and stops it when the head is whole."""
        if self._waiting() and self._deadline is None:
            self._arm()
        super().data_received(data)
        if not self._waiting():
            self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._disarm()
        super().connection_lost(exc)

    def _waiting(self) -> bool:
        """True as long as no request is under way on this connection."""
        return self.cycle is None or self.cycle.response_complete

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        ours = self.transport.get_protocol() is self  # a web socket has another by now
        if ours and self._waiting():
            self.transport.abort()

    def _too_many(self) -> bool:
        if len(self.connections) > MOST:
            return True
        if self.client is None or self.client[0] in _LOOPBACK:
            return False
        mine = sum(1 for other in self.connections if _address(other) == self.client[0])
        return mine > MOST_AN_ADDRESS


def _address(connection: object) -> str | None:
    client = getattr(connection, "client", None)
    if client is None:  # a web socket
        transport = getattr(connection, "transport", None)
        client = transport.get_extra_info("peername") if transport is not None else None
    return client[0] if client else None
