"""``faceveil leaderboard``: opens the board."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.submit import StoreOption


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("leaderboard")(leaderboard)


def leaderboard(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    base_path: Annotated[str, typer.Option(help="Path under which a reverse proxy shows it, handed on unchanged.")] = "",
    public_host: Annotated[str, typer.Option(help="Name under which a reverse proxy is known.")] = "",
    trusted_proxy: Annotated[
        str | None,
        typer.Option(help="Addresses of proxies whose X-Forwarded-For is believed, with commas; default this machine."),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Serves the leaderboard in the browser, and its API, until interrupted."""
    from leaderboard.launch import launch

    raise typer.Exit(launch(host, port, store, base_path, public_host, trusted_proxy))
