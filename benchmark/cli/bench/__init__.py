"""``faceveil bench``: how fast the parts are, each beside the plain way to do the same."""

from __future__ import annotations

import typer

from benchmark.cli.bench import (
    api,
    board,
    busy,
    compare,
    dp,
    evaluate,
    feeding,
    inversion,
    membership,
    queries,
    records,
    workers,
)

app = typer.Typer(help="How fast the parts are, each beside the plain way of doing the same.", no_args_is_help=True)
for module in (api, board, busy, compare, dp, evaluate, feeding, inversion, membership, queries, records, workers):
    module.register(app)


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="bench")
