"""``faceveil bench api``: how many cached answers per second the API gives, over loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.output import Json, emit, facts
from benchmark.cli.submit import StoreOption
from benchmark.interfaces import FaceVeilError

START_SECONDS = 120.0


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("api")(api)


def api(
    seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds of measuring.")] = 5.0,
    readers: Annotated[int, typer.Option(min=1, max=64, help="Connections at once, each kept open.")] = 8,
    path: Annotated[str, typer.Option(help="Path to request.")] = "/api/v1/leaderboard",
    store: StoreOption = None,
    json: Json = False,
) -> None:
    """Starts pages and API as `faceveil leaderboard` does, and requests one address over and over."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "leaderboard.launch", "--port", str(port), *(["--store", store] if store else [])]
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port, path, server)
        before = _cpu_seconds(server.pid)
        document = _measure(port, path, seconds, readers)
        used = _cpu_seconds(server.pid)
        if before is not None and used is not None:  # does not depend on what else the machine does
            document["server_cpu_ms_per_request"] = round(1000 * (used - before) / document["n"], 3)
    finally:
        server.terminate()
        server.wait(30)
    emit(document, json, lambda: facts(document))


def _cpu_seconds(pid: int) -> float | None:
    """Processor time that a process has used so far; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait(port: int, path: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60).close()
            return
        except urllib.error.HTTPError as error:
            raise FaceVeilError(f"{path} answers with status {error.code}.") from None
        except OSError:
            time.sleep(0.2)
    raise FaceVeilError("the server did not start; try `faceveil leaderboard` to see why.")


def _measure(port: int, path: str, seconds: float, readers: int) -> dict[str, Any]:
    """Readers on threads; sockets of our own, because the client must cost less than the server that it measures."""
    times: list[float] = []
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=_read, args=(port, path, until, times)) for _ in range(readers)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken, ordered = time.monotonic() - started, sorted(times)
    if not ordered:
        raise FaceVeilError(f"{path} gave no answer with status 200.")
    return {
        "path": path,
        "requests_per_second": round(len(ordered) / taken, 1),
        "median_ms": round(1000 * ordered[len(ordered) // 2], 2),
        "p95_ms": round(1000 * ordered[int(0.95 * len(ordered))], 2),
        "n": len(ordered),
        "seconds": round(taken, 2),
        "readers": readers,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def _read(port: int, path: str, until: float, times: list[float]) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        while time.monotonic() < until:
            started = time.perf_counter()
            connection.sendall(request)
            if not _answered(connection):
                return
            times.append(time.perf_counter() - started)


def _answered(connection: socket.socket) -> bool:
    """Reads one whole answer; False where it is none with status 200."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return False
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = [line.partition(b": ") for line in head.lower().split(b"\r\n")]
    length = next((int(value) for name, _, value in lines if name == b"content-length"), 0)
    got = len(body)
    while got < length:
        piece = connection.recv(65536)
        if not piece:
            return False
        got += len(piece)
    return head.startswith(b"HTTP/1.1 200")
