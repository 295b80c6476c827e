"""Connections that say nothing, or half of what they have to say, are closed; those that work are not."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from leaderboard import connections as module
from leaderboard.connections import BoundedProtocol


async def slow(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that waits half a second for the head of a request, and holds eight connections."""
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(module, "MOST", 8)
    app = Starlette(routes=[Route("/", slow, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, http=BoundedProtocol, log_level="error", timeout_keep_alive=30))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def closed(connection: socket.socket) -> bool:
    connection.settimeout(5)
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:
        return True


def ending(connection: socket.socket, end: bytes) -> bytes:
    """What comes, up to an end."""
    connection.settimeout(5)
    came = b""
    while not came.endswith(end):
        came += connection.recv(1000) or b"(closed)"
    return came


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_a_request_that_is_never_finished_is_closed(port: int, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(said)
        assert closed(connection)


def test_a_second_request_that_is_never_finished_is_closed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ending(connection, b"\r\n\r\n0").startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET / HT")
        assert closed(connection)


def test_a_body_may_take_longer_than_a_head(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        for _ in range(5):
            time.sleep(0.25)
            connection.sendall(b"x")
        assert ending(connection, b"\r\n\r\n5").startswith(b"HTTP/1.1 200")


def test_too_many_connections_are_refused_and_there_is_room_again(port: int) -> None:
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for connection in held:
        assert closed(connection), "at once, or by the deadline"
        connection.close()
    client = http.client.HTTPConnection("127.0.0.1", port)
    client.request("GET", "/")
    assert client.getresponse().status == 200
    client.close()
