"""Starts the pages: ``python -m leaderboard.launch``, which ``faceveil leaderboard`` runs.

The settings stand here and are handed to Streamlit by this file, because ``.streamlit/config.toml`` is found only where the
project's folder is the current one.  A test keeps the two alike.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import pkgutil
import socket
import sys
import threading
from pathlib import Path

import uvicorn
from streamlit.web import bootstrap

from benchmark.interfaces import FaceVeilError
from leaderboard import views
from leaderboard.board.library import after_building, load
from leaderboard.charts.palette import BLUE, CATEGORIES, LINK, ORANGE, SKY, VERMILION
from leaderboard.connections import BoundedProtocol

APP = Path(__file__).parent / "app.py"

SETTINGS: dict[str, object] = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.toolbarMode": "viewer",
    "server.enableXsrfProtection": True,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxUploadSize": 200,  # MB; held in memory while they are checked: larger ones go by `faceveil submit --url`
    "theme.baseRadius": "medium",
    "theme.headingFont": "serif",
    "theme.headingFontSizes": ["2.4rem", "1.6rem", "1.25rem"],
    "theme.headingFontWeights": [600, 600, 600],
    "theme.metricValueFontSize": "1.5rem",
    "theme.paddingTop": "1rem",
    "theme.paddingBottom": "3rem",
    "theme.showWidgetBorder": True,
    "theme.chartCategoricalColors": list(CATEGORIES),
    "theme.light.blueColor": BLUE,
    "theme.light.orangeColor": VERMILION,
    "theme.dark.blueColor": SKY,
    "theme.dark.orangeColor": ORANGE,
    "theme.light.primaryColor": BLUE,
    "theme.light.backgroundColor": "#FFFFFF",
    "theme.light.secondaryBackgroundColor": "#F4F6F8",
    "theme.light.textColor": "#0E1622",
    "theme.light.borderColor": "#DDE2E8",
    "theme.light.linkColor": LINK["light"],
    "theme.dark.primaryColor": SKY,
    "theme.dark.backgroundColor": "#12171E",
    "theme.dark.secondaryBackgroundColor": "#1B222C",
    "theme.dark.textColor": "#E6EAF0",
    "theme.dark.borderColor": "#323B48",
    "theme.dark.linkColor": LINK["dark"],
}


def settings(host: str, port: int, base_path: str = "", public_host: str = "") -> dict[str, object]:
    """Streamlit's settings.  Bound to this machine alone, it answers to this machine's names alone (DNS rebinding).

    Args:
        base_path: where a reverse proxy shows it, such as ``faceveil``; the proxy must hand the path on unchanged.
        public_host: the name under which a reverse proxy is known.
    """
    found = SETTINGS | {"server.address": host, "server.port": port}
    if base_path.strip("/"):
        found["server.baseUrlPath"] = base_path.strip("/")
    if host in ("127.0.0.1", "localhost", "::1"):
        found["server.allowedHosts"] = ["localhost", "127.0.0.1", "[::1]", *([public_host] if public_host else [])]
    return found


def listen(host: str, port: int) -> socket.socket:
    """A socket that says that it is TCP: only then does asyncio turn Nagle's algorithm off on its connections.

    Without that the body of an answer waits 40 ms for a client that is slow to acknowledge the head.

    Raises:
        FaceVeilError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name != "nt":  # there it would share the port with another server
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        raise FaceVeilError(f"cannot listen on {host}, port {port}: {reason}. Choose another --port or --host.") from None
    return listening


def launch(
    host: str = "127.0.0.1",
    port: int = 8501,
    store: str | None = None,
    base_path: str = "",
    public_host: str = "",
    trusted_proxy: str | None = None,
) -> int:
    """Serves pages and API in this process until it is interrupted or terminated.  Returns the exit code.

    Args:
        store: path or URL, default the usual one.
        trusted_proxy: addresses or networks, with commas between them, whose ``X-Forwarded-For`` is believed; default this
            machine.

    The rest: see :func:`settings`.
    """
    if store:
        os.environ["FACEVEIL_STORE_URL"] = str(store)
    bootstrap.load_config_options(settings(host, port, base_path, public_host))  # before the pages, which read them
    with listen(host, port) as listening:
        config = uvicorn.Config(
            "leaderboard.api.server:app",
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            ws="websockets-sansio",
            http=BoundedProtocol,
            ws_max_size=2 * 2**20,  # bytes of a message: widgets' states are small, files come another way
            ws_max_queue=8,
            ws_ping_interval=30,
            ws_ping_timeout=30,
            forwarded_allow_ips=trusted_proxy,
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        after_building.append(settle)
        threading.Thread(target=_read_ahead, daemon=True).start()
        path = base_path.strip("/")
        print(f"Leaderboard: http://{host}:{port}/{path}  (Ctrl-C ends it)", file=sys.stderr, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    return 0 if server.started else 1


def settle() -> None:
    """Takes what lives as long as the server, records above all, out of the search for garbage.

    Streamlit searches everything after each run of a page: with the shipped records nine tenths of the run's time, and ten
    thousand records are a million objects.  What an earlier board left is collected first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _read_ahead() -> None:
    """Reads the records and the pages' modules before the first reader comes; what is wrong with records the pages tell."""
    with contextlib.suppress(FaceVeilError, OSError):
        load()
    for module in pkgutil.iter_modules(views.__path__, f"{views.__name__}."):
        importlib.import_module(module.name)
    settle()


def main() -> int:
    """Command line of the module."""
    parser = argparse.ArgumentParser(prog="python -m leaderboard.launch", description="Serve the leaderboard.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: every network")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--store", help="path or URL of the store")
    parser.add_argument("--base-path", default="", help="path under which a reverse proxy shows it")
    parser.add_argument("--public-host", default="", help="name under which a reverse proxy is known")
    parser.add_argument("--trusted-proxy", help="addresses of proxies whose X-Forwarded-For is believed")
    return launch(**vars(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
