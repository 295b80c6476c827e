"""What strangers may hold of the server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leaderboard.api import guard as module
from leaderboard.api.guard import Guard
from leaderboard.widgets import allowance as allowance_module
from leaderboard.widgets.allowance import MEBIBYTE, Allowance


class Behind:
    """The application behind a guard: counts what comes through."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.reached.append(scope["path"])
        if scope["type"] == "websocket":
            await self.go_on.wait()
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def ask(guard: Guard, path: str, method: str = "GET", query: bytes = b"", **headers: str) -> int:
    """The status of a request."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": named, "client": ("::1", 1)}
    asyncio.run(guard(scope, receive, send))
    return int(sent[0]["status"])


def upload(guard: Guard, session: str, file: str, size: int | None, method: str = "PUT") -> int:
    headers = {} if size is None else {"content_length": str(size)}
    return ask(guard, f"/base/_stcore/upload_file/{session}/{file}", method, **headers)


def test_a_file_comes_only_into_a_session_in_which_a_token_was_typed() -> None:
    """Six anonymous files of 150 MB held 1.1 GB for minutes."""
    behind = Behind()
    allowance = Allowance(200 * MEBIBYTE, 400 * MEBIBYTE)
    guard = Guard(behind, "/api", allowance=allowance)
    for number in range(6):
        assert upload(guard, "stranger", str(number), 150 * MEBIBYTE) == 403
    assert behind.reached == []
    allowance.allow("team")
    assert upload(guard, "team", "a", 150 * MEBIBYTE) == 204
    assert upload(guard, "team", "b", 150 * MEBIBYTE) == 413, "a session's own budget"
    assert upload(guard, "team", "a", 160 * MEBIBYTE) == 204, "the same file again"
    assert upload(guard, "team", "c", None) == 411
    assert upload(guard, "team", "a", None, "DELETE") == 204
    assert upload(guard, "team", "b", 150 * MEBIBYTE) == 204


def test_all_files_have_one_budget_which_ended_sessions_give_back() -> None:
    living = {"a", "b", "c"}
    allowance = Allowance(200, 400, living.__contains__)
    for session in living:
        allowance.allow(session)
    assert [allowance.take(session, "x", 180)[0] for session in ("a", "b", "c")] == [200, 200, 503]
    living.discard("a")
    assert allowance.take("c", "x", 180)[0] == 200


def test_a_right_to_upload_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    allowance = Allowance(200, 400)
    monkeypatch.setattr(allowance_module, "ALLOWED_SECONDS", -1.0)
    allowance.allow("a")
    assert allowance.take("a", "x", 1)[0] == 403
    monkeypatch.undo()
    for number in range(1000):
        allowance.allow(str(number))
    assert len(allowance._until) == 256


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 204),
        ("LOCALHOST:8501", 204),
        ("[::1]:8501", 204),
        ("evil.example", 421),
        ("", 421),
        ("localhost.evil", 421),
    ],
)
def test_the_api_answers_to_its_own_names_alone(host: str, status: int) -> None:
    guard = Guard(Behind(), "/api", ["localhost", "[::1]"])
    assert ask(guard, "/api/v1/records", host=host) == status
    assert ask(guard, "/", host=host) == 204, "the pages see to that themselves"
    assert ask(Guard(Behind(), "/api"), "/api/v1/records", host=host) == 204


def test_a_nul_is_refused_before_any_database_sees_it() -> None:
    behind = Behind()
    assert ask(Guard(behind, "/api"), "/api/v1/submissions/a\x00b") == 400
    assert ask(Guard(behind, "/api"), "/api/v1/queue", query=b"team=%00") == 400
    assert behind.reached == []


def test_sockets_are_limited_by_address_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOCKETS", 5)
    monkeypatch.setattr(module, "SOCKETS_AN_ADDRESS", 3)
    behind = Behind()
    guard = Guard(behind, "/api")
    closed: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        closed.append(message)

    def connect(address: str) -> Any:
        return guard({"type": "websocket", "path": "/s", "headers": [], "client": (address, 1)}, receive, send)

    async def crowd() -> None:
        held = [asyncio.create_task(connect("10.0.0.1")) for _ in range(4)]
        held += [asyncio.create_task(connect(f"10.0.0.{n}")) for n in (2, 3, 4)]
        await asyncio.sleep(0.05)
        assert len(behind.reached) == 5
        assert [message["code"] for message in closed] == [1013, 1013]
        behind.go_on.set()
        await asyncio.gather(*held)
        assert not guard._sockets

    asyncio.run(crowd())
