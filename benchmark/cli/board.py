"""``faceveil leaderboard``: opens the board."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("leaderboard")(leaderboard)


def leaderboard(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
) -> None:
    """Serves the leaderboard in the browser until interrupted."""
    from benchmark.registry import service

    raise typer.Exit(service("board")(host, port))
