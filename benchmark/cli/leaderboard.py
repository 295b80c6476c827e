"""``faceveil leaderboard``: opens the board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.output import out, unreadable
from benchmark.cli.submit import StoreOption


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("leaderboard")(leaderboard)


def leaderboard(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    base_path: Annotated[str, typer.Option(help="Path under which a reverse proxy serves it, passed on unchanged.")] = "",
    public_host: Annotated[str, typer.Option(help="Host name of the reverse proxy.")] = "",
    trusted_proxy: Annotated[
        str | None,
        typer.Option(help="Addresses of proxies whose X-Forwarded-For is believed, with commas; default this machine."),
    ] = None,
    static: Annotated[
        Path | None,
        typer.Option("--static", help="Write the whole board into this folder as plain pages and JSON, and serve nothing."),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Serves the leaderboard in the browser, and its API, until interrupted.

    Example: faceveil leaderboard --static public  (for a web space without a server)
    """
    if static is not None:
        return _write(static, store)
    from leaderboard.launch import launch

    raise typer.Exit(launch(host, port, store, base_path, public_host, trusted_proxy))


def _write(folder: Path, store: str | None) -> None:
    """The board as a folder of plain pages."""
    from leaderboard.board.library import library
    from leaderboard.plain.site import write

    records = library(store)
    board = records.board()
    files = write(folder, board, records.every)
    for problem in board.problems:
        unreadable(problem)
    size = sum((folder / name).stat().st_size for name in files) / 2**20
    out.print(f"{len(files)} files, {size:.1f} MB; open {folder / 'index.html'}", markup=False, soft_wrap=True)
